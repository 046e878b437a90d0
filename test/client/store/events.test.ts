// The codec between an application's events and the store: what is kept, refused, brought up to
// date.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defineEvents } from "../../../src/client/store/define-events.ts";
import { MalformedEventError } from "../../../src/client/store/errors.ts";
import {
  newEventId,
  recordedEvent,
  wireEvent,
  type RawEvent,
} from "../../../src/client/store/event.ts";

type Shop =
  | { readonly type: "Placed"; readonly data: { readonly order: string; readonly cents: number } }
  | { readonly type: "Paid"; readonly data: { readonly order: string } }
  | { readonly type: "Closed" };

const text = (payload: Uint8Array) => Buffer.from(payload).toString();

/** An event as a store would answer it. */
function recorded(type: string, payload: string | Uint8Array = "", more: Partial<RawEvent> = {}) {
  return {
    type,
    id: newEventId(),
    stream: "order-1",
    version: 3,
    position: 7,
    tags: [],
    metadata: {},
    contentType: "application/json",
    payload: typeof payload === "string" ? Buffer.from(payload) : payload,
    recordedAt: new Date(0),
    recordedAtMicros: 0,
    ...more,
  } satisfies RawEvent;
}

describe("without options", () => {
  const events = defineEvents<Shop>();

  test("data is stored as its JSON text, and comes back", () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const codec = defineEvents<{ type: "Any"; data: unknown }>();
        const data: unknown = JSON.parse(json);
        const { payload, contentType } = codec.encode({ type: "Any", data });
        expect(text(payload)).toBe(JSON.stringify(data));
        expect(contentType).toBe("application/json");
        expect(codec.decode(recorded("Any", payload)).data).toStrictEqual(data);
      }),
    );
  });

  test("an event without data has no payload, and none comes back", () => {
    expect(events.encode({ type: "Closed" }).payload).toHaveLength(0);
    expect(events.decode(recorded("Closed"))).toStrictEqual({ type: "Closed" });
  });

  test("the payload of a recorded event is there byte for byte, beside the parsed data", () => {
    const exact = '{"cents":12345678901234567890.10, "order":"a"}';
    const event = recordedEvent(recorded("Placed", exact), events);
    expect(text(event.payload)).toBe(exact);
    expect(event).toMatchObject({ type: "Placed", position: 7, version: 3, stream: "order-1" });
  });

  test("a payload that is no JSON is handed through as bytes", () => {
    const payload = Uint8Array.of(1, 2, 3);
    const raw = recorded("Placed", payload, { contentType: "application/x-protobuf" });
    expect(events.decode(raw)).toEqual({ type: "Placed", data: payload });
  });

  test.each(["application/json; charset=utf-8", "application/vnd.shop+json"])(
    "%s is JSON",
    (contentType) => {
      const event = events.decode(recorded("Paid", '{"order":"a"}', { contentType }));
      expect(event).toEqual({ type: "Paid", data: { order: "a" } });
    },
  );

  test.each(["{", "\uFEFF{}", Uint8Array.of(0x22, 0xff, 0x22)])(
    "%j says that it is JSON and is not: the event is named",
    (payload) => {
      const read = () => recordedEvent(recorded("Paid", payload), events);
      expect(read).toThrow(MalformedEventError);
      expect(read).toThrow(/the Paid at position 7 \(order-1@3\)/);
    },
  );
});

describe("data that JSON would lose", () => {
  const events = defineEvents<{ type: "Any"; data: unknown }>();
  const cyclic: Record<string, unknown> = {};
  cyclic["self"] = cyclic;

  test.each<[string, unknown, RegExp]>([
    ["NaN", { total: Number.NaN }, /data\.total is NaN/],
    ["infinity", [1, { x: -Infinity }], /data\[1\]\.x is -Infinity/],
    ["a map", { byId: new Map() }, /data\.byId is a Map/],
    ["a set", new Set(), /data is a Set/],
    ["bytes", { raw: new Uint8Array(2) }, /data\.raw is a Uint8Array/],
    ["undefined in a list", [undefined], /data\[0\] is undefined/],
    ["a function", { run: () => 1 }, /data\.run is a function/],
    ["a bigint", { id: 1n }, /BigInt/],
    ["a cycle", cyclic, /circular/i],
  ])("%s is refused by name", (_, data, message) => {
    expect(() => events.encode({ type: "Any", data })).toThrow(message);
  });

  test("an absent member and a date say what they mean", () => {
    const data = { at: new Date(0), sideValue: undefined };
    expect(text(events.encode({ type: "Any", data }).payload)).toBe(
      '{"at":"1970-01-01T00:00:00.000Z"}',
    );
  });
});

describe("with hooks", () => {
  const parsed = defineEvents<Shop>({
    parse: {
      Placed: (data) => {
        const { order, cents } = data as { order: string; cents: number };
        if (!Number.isInteger(cents)) throw new TypeError("cents is no integer");
        return { order, cents };
      },
      Paid: (data) => data as { order: string },
      Closed: () => undefined,
    },
    tags: (event) => ("data" in event ? [`order:${event.data.order}`] : []),
  });

  test("what is read has passed its parser", () => {
    const event = parsed.decode(recorded("Placed", '{"order":"a","cents":5,"more":1}'));
    expect(event).toStrictEqual({ type: "Placed", data: { order: "a", cents: 5 } });
  });

  test("what does not pass, and what is none of the events, is refused with the reason", () => {
    const wrong = () => recordedEvent(recorded("Placed", '{"cents":0.5}'), parsed);
    expect(wrong).toThrow(/cents is no integer/);
    const unknown = () => recordedEvent(recorded("toString", "{}"), parsed);
    expect(unknown).toThrow(/"toString" is none of the defined events/);
  });

  test("tags that follow from the event are added to those of the append, each once", () => {
    const event = { type: "Paid", data: { order: "a" }, tags: ["x", "order:a"] } as const;
    expect(wireEvent(event, parsed).tags).toEqual(["x", "order:a"]);
    expect(wireEvent({ type: "Closed" }, parsed).tags).toEqual([]);
  });

  test("JSON of the application's own keeps what the language's would lose", () => {
    const exact = defineEvents<{ type: "Any"; data: bigint }>({
      json: { parse: (json) => BigInt(json), stringify: (data) => String(data) },
    });
    const { payload } = exact.encode({ type: "Any", data: 12345678901234567890n });
    expect(text(payload)).toBe("12345678901234567890");
    expect(exact.decode(recorded("Any", payload)).data).toBe(12345678901234567890n);
  });
});

describe("upcasting", () => {
  const events = defineEvents<Shop>({
    upcast: {
      // Version 1 had another name and whole units; version 2 the name of today.
      OrderMade: ({ data }) => ({ type: "Placed", data: { ...(data as object), unit: "euro" } }),
      Placed: ({ data }) => {
        const { unit, total, ...rest } = data as { unit?: string; total?: number };
        const data2 = unit === "euro" ? { ...rest, cents: (total ?? 0) * 100 } : data;
        return { type: "Placed", data: data2 };
      },
    },
  });

  test("an old type becomes that of today, through every step between", () => {
    const event = events.decode(recorded("OrderMade", '{"order":"a","total":3}'));
    expect(event).toEqual({ type: "Placed", data: { order: "a", cents: 300 } });
    expect(events.storedTypes(["Placed"])).toEqual(["Placed", "OrderMade"]);
  });

  test("the recorded payload stays what it was", () => {
    const event = recordedEvent(recorded("OrderMade", '{"order":"a","total":3}'), events);
    expect(event.type).toBe("Placed");
    expect(text(event.payload)).toBe('{"order":"a","total":3}');
  });

  test("types that become each other for ever are refused", () => {
    const round = defineEvents<Shop>({
      upcast: {
        A: ({ data }) => ({ type: "B", data }),
        B: ({ data }) => ({ type: "A", data }),
      },
    });
    expect(() => round.decode(recorded("A"))).toThrow(/upcast for ever/);
  });

  test("any chain of renames ends at its last name, and each step is done once", () => {
    const chain = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(chain, fc.nat(), (names, from) => {
        const start = from % names.length;
        const steps = names.slice(0, -1).map((name, index) => {
          const next = names[index + 1] as string;
          return [
            name,
            ({ data }: { data: unknown }) => ({ type: next, data: (data as number) + 1 }),
          ];
        });
        const upcast = Object.fromEntries(steps) as Record<string, never>;
        const codec = defineEvents<{ type: string; data: unknown }>({ upcast });
        const event = codec.decode(recorded(names[start] as string, "0"));
        expect(event).toEqual({ type: names.at(-1), data: names.length - 1 - start });
      }),
    );
  });
});
