// Events whose JSON is parsed when their data is first accessed.
import { inspect } from "node:util";
import { describe, expect, test, vi } from "vitest";
import { defineEvents, jsonEvents } from "../../../src/client/store/define-events.ts";
import { MalformedEventError } from "../../../src/client/store/errors.ts";
import { recordedEvent, type EventCodec, type RawEvent } from "../../../src/client/store/event.ts";
import { readEvent } from "../../../src/client/store/lazy-event.ts";

type Paid = { readonly type: "Paid"; data: { readonly cents: number } };

function raw(payload: string, more: Partial<RawEvent> = {}): RawEvent {
  return {
    type: "Paid",
    id: "0193a1b2-c3d4-7e5f-8a9b-000000000001",
    stream: "order-1",
    version: 3,
    position: 7,
    tags: ["order-1"],
    metadata: { user: "clerk" },
    contentType: "application/json",
    payload: Buffer.from(payload),
    recordedAt: new Date(1_000),
    recordedAtMicros: 1_000_000,
    principal: "shop",
    traceParent: "",
    ...more,
  };
}

/** A codec that counts what it parses. */
function counted() {
  const parse = vi.fn<(text: string) => unknown>((text) => JSON.parse(text));
  return { parse, codec: defineEvents<Paid>({ json: { parse, stringify: JSON.stringify } }) };
}

describe("an event that was read", () => {
  test("is parsed at the first access of its data, once", () => {
    const { parse, codec } = counted();
    const event = readEvent(raw('{"cents":5}'), codec);
    expect([event.type, event.position, event.id.length]).toEqual(["Paid", 7, 36]);
    expect(parse).not.toHaveBeenCalled();
    expect(event.data).toEqual({ cents: 5 });
    expect(event.data).toBe(event.data);
    expect(parse).toHaveBeenCalledTimes(1);
  });

  test.each(['{"cents":5}', "null", "0", '""', "[]"])(
    "is to a reader what an event that is decoded at once is: %s",
    (payload) => {
      const given = raw(payload);
      const event = readEvent(given, jsonEvents);
      const expected = recordedEvent(given, jsonEvents);
      expect({ ...event }).toStrictEqual(expected);
      expect(Object.keys(event).toSorted()).toEqual(Object.keys(expected).toSorted());
      expect(JSON.parse(JSON.stringify(event))).toEqual(JSON.parse(JSON.stringify(expected)));
      expect(structuredClone(event)).toEqual(structuredClone(expected));
      expect(inspect(event, { sorted: true })).toBe(inspect(expected, { sorted: true }));
    },
  );

  test("keeps the data that it is given, also when it is frozen", () => {
    const event = readEvent(raw('{"cents":5}'), defineEvents<Paid>());
    event.data = { cents: 6 };
    expect(event.data).toEqual({ cents: 6 });
    expect(Object.freeze(readEvent(raw("7"), jsonEvents)).data).toBe(7);
  });

  test("is read through a proxy, and by what inherits from it", () => {
    const event = readEvent(raw('{"cents":5}'), jsonEvents);
    const proxy = new Proxy(event, {});
    expect(proxy.data).toEqual({ cents: 5 });
    Object.assign(proxy, { data: 6 });
    expect([proxy.data, event.data]).toEqual([6, 6]);
    const base = readEvent(raw("8"), jsonEvents);
    expect((Object.create(base) as typeof base).data).toBe(8);
  });

  test("takes no other data once it is frozen", () => {
    const event = Object.freeze(readEvent(raw("7"), jsonEvents)) as { data?: unknown };
    expect(() => (event.data = 8)).toThrow(TypeError);
    expect(event.data).toBe(7);
  });

  test("that is no JSON says so at each access, and where it is", () => {
    const event = readEvent(raw("{"), jsonEvents);
    for (let access = 0; access < 2; access++) {
      expect(() => event.data).toThrow(MalformedEventError);
      expect(() => event.data).toThrow(
        /^the Paid at position 7 \(order-1@3\) is not understood: /u,
      );
    }
    expect(inspect(event)).toContain("is not understood");
    expect(() => readEvent(raw("\xff", { payload: Buffer.of(0xff) }), jsonEvents).data).toThrow(
      MalformedEventError,
    );
  });
});

describe("an event is decoded when it arrives", () => {
  const events: Record<string, EventCodec<{ type: string; data?: unknown }>> = {
    "where the codec checks data": defineEvents({ parse: { Paid: (data) => data } }),
    "where its type has an upcaster": defineEvents({ upcast: { Paid: (old) => old } }),
    "where a copy of a codec has another decode": {
      ...jsonEvents,
      decode: (event) => ({ ...jsonEvents.decode(event), type: "Renamed", more: 1 }),
    },
    "where the codec is not of defineEvents": {
      encode: (event) => jsonEvents.encode(event),
      decode: (event) => jsonEvents.decode(event),
      storedTypes: (types) => jsonEvents.storedTypes(types),
    },
  };

  test.each(Object.keys(events))("%s", (name) => {
    const codec = events[name] as EventCodec<{ type: string; data?: unknown }>;
    expect(() => readEvent(raw("{"), codec)).toThrow(MalformedEventError);
    expect(readEvent(raw("5"), codec)).toStrictEqual(recordedEvent(raw("5"), codec));
  });

  test("where it has no payload", () => {
    expect(readEvent(raw(""), jsonEvents)).toStrictEqual(recordedEvent(raw(""), jsonEvents));
  });
});
