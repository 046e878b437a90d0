// What the client decodes by hand is what the generated codec decodes, whatever the bytes are.
import { create, fromBinary, toBinary, type DescMessage } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decoderOf } from "../../../src/client/rpc/recorded-events.ts";
import { RecordedEventSchema } from "../../../src/gen/annals/v1/event_pb.js";
import { GetInfoResponseSchema } from "../../../src/gen/annals/v1/info_pb.js";
import { ReadResponseSchema, SubscribeResponseSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { LoadResponseSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import { arbitraryText } from "../../support/events.ts";

const anyText = fc.oneof(
  { weight: 4, arbitrary: arbitraryText(20, 0) },
  fc.constantFrom("", "\ufeffa", "é".repeat(200), "x".repeat(300), "\u{1f600}", "\u0000"),
);
const keys = fc.oneof(anyText, fc.constantFrom("__proto__", "constructor", "1"));
const number = fc.oneof(fc.maxSafeNat(), fc.nat({ max: 300 })).map(BigInt);
const time = fc.record({
  seconds: fc.oneof(fc.nat(), fc.integer({ max: -1 })).map(BigInt),
  nanos: fc.oneof(fc.constant(0), fc.nat({ max: 999_999_999 }), fc.integer({ max: -1 })),
});
const removed = fc.record({ policyPosition: number, lost: fc.boolean() });
const event = fc
  .record({
    id: anyText,
    stream: anyText,
    type: anyText,
    tags: fc.array(anyText, { maxLength: 4 }),
    metadata: fc.dictionary(keys, anyText, { maxKeys: 4 }),
    contentType: anyText,
    data: fc.uint8Array({ maxLength: 400 }),
    version: number,
    position: number,
    principal: anyText,
    traceParent: anyText,
    recordedAt: fc.option(time, { freq: 9, nil: undefined }),
    removed: fc.option(removed, { freq: 9, nil: undefined }),
  })
  .map(({ recordedAt, removed: gone, ...rest }) => ({
    ...rest,
    ...(recordedAt && { recordedAt }),
    ...(gone && { removed: gone }),
  }));
const batches = fc.array(event, { maxLength: 4 });

type Events = typeof batches extends fc.Arbitrary<infer T> ? T : never;

/** A message of each kind that has batches. */
function messagesOf(events: Events, epoch: string): [DescMessage, Buffer][] {
  const message = { case: "batch", value: { events } } as const;
  const encoded = <D extends DescMessage>(schema: D, init: object): [D, Buffer] => [
    schema,
    Buffer.from(toBinary(schema, create(schema, init as never))),
  ];
  return [
    encoded(ReadResponseSchema, { message, epoch }),
    encoded(SubscribeResponseSchema, { message, epoch }),
    encoded(LoadResponseSchema, { message }),
  ];
}

/** The decoded message, or that there is none. */
function attempt(decode: () => unknown): unknown {
  try {
    return decode();
  } catch {
    return "refused";
  }
}

function expectSame(schema: DescMessage, bytes: Buffer): void {
  const expected = attempt(() => fromBinary(schema, bytes));
  expect(attempt(() => decoderOf(schema)(bytes))).toStrictEqual(expected);
}

describe("messages with a batch", () => {
  test("are decoded as by the generated codec", () => {
    const property = fc.property(batches, anyText, (events, epoch) => {
      for (const [schema, bytes] of messagesOf(events, epoch)) expectSame(schema, bytes);
    });
    fc.assert(property, { numRuns: 150 });
  });

  test("damaged ones too, or they are refused as by it", () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 });
    const cut = fc.option(fc.nat({ max: 600 }), { nil: undefined });
    const property = fc.property(batches, anyText, flips, cut, (events, epoch, changes, end) => {
      for (const [schema, whole] of messagesOf(events, epoch)) {
        const bytes = Buffer.from(whole.subarray(0, end));
        for (const [at, byte] of changes) {
          if (bytes.length > 0) bytes[at % bytes.length] = byte;
        }
        expectSame(schema, bytes);
      }
    });
    fc.assert(property, { numRuns: 300 });
  });

  test("several in one message are one, and fields may come in any order", () => {
    const property = fc.property(batches, batches, anyText, (one, other, epoch) => {
      const [[schema, first]] = messagesOf(one, epoch) as [[DescMessage, Buffer]];
      const [[, second]] = messagesOf(other, "") as [[DescMessage, Buffer]];
      expectSame(schema, Buffer.concat([first, second]));
      const records = one.map((init) =>
        toBinary(RecordedEventSchema, create(RecordedEventSchema, init)),
      );
      // Twice the same fields: the later ones count, lists are joined.
      const twice = Buffer.concat(records);
      const framed = Buffer.concat([framing(0x0a, twice.length), twice]);
      expectSame(schema, Buffer.concat([framing(0x0a, framed.length), framed]));
    });
    fc.assert(property, { numRuns: 40 });
  });
});

test("a message without batches is left to the generated codec", () => {
  const bytes = Buffer.from(
    toBinary(GetInfoResponseSchema, create(GetInfoResponseSchema, { head: 3n })),
  );
  expect(decoderOf(GetInfoResponseSchema)(bytes)).toStrictEqual(
    fromBinary(GetInfoResponseSchema, bytes),
  );
});

function framing(tag: number, length: number): Buffer {
  const bytes = [tag];
  for (let rest = length; ; rest >>>= 7) {
    bytes.push(rest >= 0x80 ? (rest & 0x7f) | 0x80 : rest);
    if (rest < 0x80) return Buffer.from(bytes);
  }
}
