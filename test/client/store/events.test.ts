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
    principal: "",
    traceParent: "",
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

  class Money {
    readonly cents = 1;
  }
  const beside = Object.assign([1], { index: 0 });

  test.each<[string, unknown, RegExp]>([
    ["NaN", { total: Number.NaN }, /data\.total is NaN/],
    ["infinity", [1, { x: -Infinity }], /data\[1\]\.x is -Infinity/],
    ["a map", { byId: new Map() }, /data\.byId is a Map/],
    ["a set", new Set(), /data is a Set/],
    ["a weak map", { x: new WeakMap() }, /data\.x is a WeakMap/],
    ["bytes", { raw: new Uint8Array(2) }, /data\.raw is a Uint8Array/],
    ["bytes of Node's", { raw: Buffer.of(1) }, /data\.raw is a Buffer/],
    ["numbers of a typed list", new Float64Array(1), /data is a Float64Array/],
    ["a view of bytes", { raw: new DataView(new ArrayBuffer(1)) }, /data\.raw is a DataView/],
    ["a buffer", { raw: new ArrayBuffer(2) }, /data\.raw is a ArrayBuffer/],
    ["a date that is none", { at: new Date("x") }, /data\.at is an invalid date/],
    [
      "what nobody waited for",
      { rate: Promise.resolve(1) },
      /data\.rate is a Promise: is an await/,
    ],
    ["an error", { why: new RangeError("x") }, /data\.why is a RangeError/],
    ["a regular expression", [/x/], /data\[0\] is a RegExp/],
    ["an instance of a class", { price: new Money() }, /data\.price is a Money/],
    ["an instance without a constructor", Object.create(new Money()), /data is a Money/],
    ["a number in a box", { n: Object(1) as unknown }, /data\.n is a Number/],
    ["undefined in a list", [undefined], /data\[0\] is undefined/],
    // oxlint-disable-next-line no-sparse-arrays
    ["a hole in a list", { x: [1, , 2] }, /data\.x\[1\] is a hole/],
    ["a member beside a list's entries", beside, /data is a list with a member "index"/],
    ["a function", { run: () => 1 }, /data\.run is a function/],
    ["a symbol", { kind: Symbol("x") }, /data\.kind is a symbol/],
    ["a member named by a symbol", { [Symbol("x")]: 1 }, /data has a member named by a symbol/],
    ["a bigint", { id: 1n }, /data\.id is a bigint/],
    ["a cycle", cyclic, /data\.self is a cycle/],
    ["a cycle through a list", [[cyclic]], /data\[0\]\[0\]\.self is a cycle/],
    ["what its own toJSON makes wrong", { x: { toJSON: () => ({ y: NaN }) } }, /data\.x\.y is NaN/],
    ["what its own toJSON leaves out", { x: { toJSON: () => undefined } }, /data\.x is undefined/],
    ["a member with an odd name", { "a b": [Number.NaN] }, /data\["a b"\]\[0\] is NaN/],
  ])("%s is refused by name", (_, data, message) => {
    expect(() => events.encode({ type: "Any", data })).toThrow(message);
  });

  test("minus zero is kept", () => {
    const { payload } = events.encode({ type: "Any", data: { x: [-0, 0], at: new Date(0) } });
    expect(text(payload)).toBe('{"x":[-0,0],"at":"1970-01-01T00:00:00.000Z"}');
    const { data } = events.decode(recorded("Any", payload));
    expect(data).toStrictEqual({ x: [-0, 0], at: "1970-01-01T00:00:00.000Z" });
  });

  test("one object in two places is no cycle, and one without a prototype is plain", () => {
    const shared = Object.assign(Object.create(null) as object, { x: 1 });
    const { payload } = events.encode({ type: "Any", data: { a: shared, b: [shared, shared] } });
    expect(text(payload)).toBe('{"a":{"x":1},"b":[{"x":1},{"x":1}]}');
  });

  test("what says itself how it looks in JSON is asked, once, by its key", () => {
    const keys: string[] = [];
    const own = { toJSON: (key: string) => (keys.push(key), key) };
    const { payload } = events.encode({
      type: "Any",
      data: { a: own, b: [own], u: new URL("a:b") },
    });
    expect(text(payload)).toBe('{"a":"a","b":["0"],"u":"a:b"}');
    expect(keys).toEqual(["a", "0", "a", "0"]);
  });

  test("any data is kept as it is, or refused", () => {
    const values = fc.object({
      withBigInt: true,
      withDate: false,
      withMap: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withNullPrototype: true,
      withBoxedValues: true,
      maxDepth: 3,
    });
    fc.assert(
      fc.property(values, (data) => {
        let payload: Uint8Array;
        try {
          ({ payload } = events.encode({ type: "Any", data }));
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
          return;
        }
        // Members that are undefined, and prototypes that are null, say the same without.
        expect(events.decode(recorded("Any", payload)).data).toEqual(data);
      }),
      { numRuns: 1_000 },
    );
  });

  test("a member beside those of an event is refused: it would be lost", () => {
    const astray = { type: "Any" as const, data: 1, payload: Buffer.of(1), total: 5 };
    expect(() => events.encode(astray)).toThrow('"total" is no member of an event');
    const { total: _, ...known } = { ...recorded("Any", "1"), ...astray };
    expect(text(events.encode(known).payload)).toBe("1");
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
