// Decoding untrusted bytes: what is malformed is named, what is made to fill the memory is refused
// before an object is made of it, and nothing else than a refusal ever comes out.
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { ReplayParkedRequestSchema } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { ReadRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { FileDescriptorProtoSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { decodeInSteps, decodeRequest } from "../../../src/grpc/transport/decode.ts";
import { inspectWire } from "../../../src/grpc/transport/wire-inspection.ts";
import { encode } from "../../support/calls.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

/** `field: description` of what is malformed. */
function malformed(bytes: Buffer): string {
  try {
    decodeRequest(AppendRequestSchema, bytes);
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.failure.reason !== "INVALID_FIELD") throw error;
    const [violation] = error.failure.violations;
    return `${violation?.field}: ${violation?.description}`;
  }
  throw new Error("it was decoded");
}

describe("a malformed request names its field", () => {
  test.each([
    ["invalid UTF-8 at the top", "0a 02 c3 28", "stream: is not valid UTF-8"],
    [
      "invalid UTF-8 in an event",
      "12 00 12 05 1a 03 61 80 61",
      "events[1].type: is not valid UTF-8",
    ],
    ["an overlong encoding", "12 04 22 02 c0 af", "events[0].tags[0]: is not valid UTF-8"],
    ["a surrogate", "12 08 22 01 61 22 03 ed a0 80", "events[0].tags[1]: is not valid UTF-8"],
    ["a key", "12 05 2a 03 0a 01 ff", "events[0].metadata: has a key that is not valid UTF-8"],
    ["a value", "12 05 2a 03 12 01 ff", "events[0].metadata: has a value that is not valid UTF-8"],
    ["text inside JSON", "12 05 42 03 1a 01 ff", "events[0].json.string_value: is not valid UTF-8"],
    [
      "a member of JSON",
      "12 0b 42 09 2a 07 0a 05 12 03 1a 01 ff",
      "events[0].json.struct_value.fields.string_value: is not valid UTF-8",
    ],
    ["a cut-off length", "0a 05 61", "stream: is cut off or malformed"],
    ["an event longer than its request", "12 7f 1a 01 61", "events[0]: is cut off or malformed"],
    ["a text longer than its event", "12 03 1a 09 61", "events[0].type: is cut off or malformed"],
    [
      "a varint without an end",
      "18 ff ff ff ff ff ff ff ff ff ff 01",
      "expected_version: is cut off or malformed",
    ],
    ["a tag cut off", "80", ": is cut off or malformed"],
    [
      "text as a number",
      "08 05",
      "stream: has the wire type 0, which is not that of its declared type",
    ],
    [
      "a number as text",
      "1a 01 05",
      "expected_version: has the wire type 2, which is not that of its declared type",
    ],
    ["an unknown wire type", "7f", ": is cut off or malformed"],
    ["a group that never ends", "6b 08 01", ": is cut off or malformed"],
    ["a group that ends as another", "6b 74", ": has a group that ends as another"],
  ])("%s", (_, bytes, message) => {
    expect(malformed(hex(bytes))).toBe(message);
  });

  test("nesting without end is refused, not followed", () => {
    let value = hex("0800");
    for (let i = 0; i < 200; i++) value = wrapIn(0x32, wrapIn(0x0a, value));
    expect(malformed(wrapIn(0x12, wrapIn(0x42, value)))).toContain(
      "nests deeper than 100 messages",
    );
    const groups = Buffer.concat([Buffer.alloc(5_000, 0x6b), Buffer.alloc(5_000, 0x6c)]);
    expect(malformed(groups)).toContain("nests deeper than 100 messages");
  });

  test("the json of an event nests at most 32 objects or 48 lists", () => {
    const list = (value: Buffer) => wrapIn(0x32, wrapIn(0x0a, value));
    const object = (value: Buffer) =>
      wrapIn(0x2a, wrapIn(0x0a, Buffer.concat([hex("0a0161"), wrapIn(0x12, value)])));
    for (const [wrap, levels] of [[object, 32] as const, [list, 48] as const]) {
      let value = hex("0800");
      for (let i = 0; i < levels; i++) value = wrap(value);
      const request = (json: Buffer) => wrapIn(0x12, wrapIn(0x42, json));
      expect(decodeRequest(AppendRequestSchema, request(value)).events).toHaveLength(1);
      expect(malformed(request(wrap(value)))).toContain("nests deeper than 100 messages");
    }
  });

  test("unknown fields of every wire type, and groups, are no fault", () => {
    const bytes = hex("0a0161 6b 0801 7301 00 74 6c fa0600 f906 0000000000000000 fd06 00000000");
    expect(() => inspectWire(AppendRequestSchema, bytes, 99)).not.toThrow();
    expect(decodeRequest(AppendRequestSchema, hex("0a0161 fa0600 6b 0801 6c")).stream).toBe("a");
  });
});

function expectDecodedOrRefused(bytes: Buffer): void {
  try {
    decodeRequest(AppendRequestSchema, bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(AnnalsError);
  }
}

function wrapIn(tag: number, content: Buffer): Buffer {
  const length = [];
  let rest = content.length;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) | 128);
  return Buffer.concat([Buffer.from([tag, ...length, rest]), content]);
}

describe("requests made to fill the memory", () => {
  const four = 4 * 1024 * 1024;

  test.each([
    ["empty events", AppendRequestSchema, Buffer.alloc(2 * four).fill(hex("1200"))],
    ["empty expectations", AppendRequestSchema, Buffer.alloc(2 * four).fill(hex("2a00"))],
    ["empty tags", AppendRequestSchema, wrapIn(0x12, Buffer.alloc(four).fill(hex("2200")))],
    ["empty metadata", AppendRequestSchema, wrapIn(0x12, Buffer.alloc(four).fill(hex("2a00")))],
    [
      "empty query items",
      ReadRequestSchema,
      wrapIn(0x12, Buffer.alloc(2 * four).fill(hex("0a00"))),
    ],
    [
      "empty names in a query",
      ReadRequestSchema,
      wrapIn(0x12, wrapIn(0x0a, Buffer.alloc(2 * four).fill(hex("0a00")))),
    ],
    ["queries in one request", ReadRequestSchema, Buffer.alloc(2 * four).fill(hex("1200"))],
    ["streams in one request", AppendRequestSchema, Buffer.alloc(2 * four).fill(hex("0a00"))],
    ["unknown fields", AppendRequestSchema, Buffer.alloc(2 * four).fill(hex("7a00"))],
    ["unknown groups", AppendRequestSchema, Buffer.alloc(2 * four).fill(hex("7b7c"))],
    [
      "keys of an entry",
      AppendRequestSchema,
      wrapIn(0x12, wrapIn(0x2a, Buffer.alloc(four).fill(hex("0a00")))),
    ],
  ])("of millions of %s are refused before they become objects", (_, schema, bytes) => {
    const before = process.memoryUsage().heapUsed;
    expect(() => decodeRequest(schema, bytes)).toThrow(AnnalsError);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20_000_000);
    // The walk ends at the first that is too many.
    expect(inspectWire(schema, bytes, 1 << 20).nestedMessages).toBeLessThanOrEqual(5_001);
  });

  test("packed numbers are counted, as are those that come one by one", () => {
    const packed = (count: number) => wrapIn(0x12, Buffer.alloc(count, 1));
    const single = Buffer.alloc(2_002).fill(hex("1001"));
    const message = "positions: has more entries than group_list_max (1000)";
    expect(decodeRequest(ReplayParkedRequestSchema, packed(1_000)).positions).toHaveLength(1_000);
    for (const bytes of [packed(1_001), packed(four), single]) {
      expect(() => decodeRequest(ReplayParkedRequestSchema, bytes)).toThrow(message);
    }
    const both = Buffer.concat([packed(600), packed(401)]);
    expect(() => decodeRequest(ReplayParkedRequestSchema, both)).toThrow(message);
  });

  test("the values of JSON are counted together, however they are nested", () => {
    const lists = Buffer.alloc(2 * 10_001).fill(hex("0a00"));
    const json = wrapIn(0x12, wrapIn(0x42, wrapIn(0x32, lists)));
    const message = "values: with those before it has more entries than json_values_max (10000)";
    expect(() => decodeRequest(AppendRequestSchema, json)).toThrow(message);
    const inner = wrapIn(0x0a, wrapIn(0x32, Buffer.alloc(2 * 5_000).fill(hex("0a00"))));
    const nested = wrapIn(0x32, Buffer.concat([inner, inner, inner, inner, inner]));
    expect(() => decodeRequest(AppendRequestSchema, wrapIn(0x12, wrapIn(0x42, nested)))).toThrow(
      message,
    );
  });

  test("the metadata of all events of an append is counted together", () => {
    const metadata = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`k${i}`, ""]));
    const events = (count: number) =>
      Array.from({ length: count }, () => ({ type: "T", metadata }));
    const request = (count: number) => encode(AppendRequestSchema, { events: events(count) });
    expect(decodeRequest(AppendRequestSchema, request(400)).events).toHaveLength(400);
    expect(() => decodeRequest(AppendRequestSchema, request(401))).toThrow(
      "metadata: with those before it has more entries than append_metadata_entries_max (20000)",
    );
  });

  test("the tags of all events of an append are counted together", () => {
    const tags = Array.from({ length: 50 }, (_, i) => `t${i}`);
    const events = (count: number) => Array.from({ length: count }, () => ({ type: "T", tags }));
    const request = (count: number) => encode(AppendRequestSchema, { events: events(count) });
    expect(decodeRequest(AppendRequestSchema, request(400)).events).toHaveLength(400);
    expect(() => decodeRequest(AppendRequestSchema, request(401))).toThrow(
      "events[400].tags: with those before it has more entries than append_tags_max (20000)",
    );
  });

  test("an append at its limits is not among them", () => {
    const events = Array.from({ length: 5_000 }, () => ({
      type: "T",
      metadata: Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`k${i}`, ""])),
      tags: ["a", "b", "c", "d"],
    }));
    const bytes = encode(AppendRequestSchema, { stream: "s", events });
    expect(inspectWire(AppendRequestSchema, bytes, 1 << 20).nestedMessages).toBeLessThan(1 << 20);
    expect(inspectWire(AppendRequestSchema, bytes, 1 << 20).problem).toBeUndefined();
  });
});

describe("whatever the bytes", () => {
  test("decoding answers or refuses, and never anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        try {
          decodeRequest(AppendRequestSchema, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(AnnalsError);
        }
      }),
      { numRuns: 20_000 },
    );
  });

  test("a valid message cut anywhere or corrupted in one byte is answered or refused", () => {
    const whole = encode(AppendRequestSchema, {
      stream: "stream",
      events: [
        { type: "T", tags: ["a"], metadata: { k: "v" } },
        {
          type: "U",
          payload: { case: "json", value: { kind: { case: "boolValue", value: true } } },
        },
      ],
      conditions: [{ query: { items: [{ streams: ["x"] }] }, after: 3n }],
    });
    for (let i = 0; i < whole.length; i++) {
      for (let bit = 0; bit < 8; bit++) {
        const corrupted = Buffer.from(whole);
        corrupted[i] = (corrupted[i] as number) ^ (1 << bit);
        for (const bytes of [corrupted, whole.subarray(0, i)]) expectDecodedOrRefused(bytes);
      }
    }
  });

  test("what the inspection finds sound, the codec decodes", () => {
    const proto = fc.uint8Array({ maxLength: 40 });
    fc.assert(
      fc.property(proto, (bytes) => {
        if (inspectWire(AppendRequestSchema, bytes, 1_000).problem !== undefined) return;
        try {
          fromBinary(AppendRequestSchema, bytes);
        } catch (error) {
          // Field number 0 is all the inspection leaves to the codec.
          expect(String(error)).toContain("illegal tag");
        }
      }),
      { numRuns: 20_000 },
    );
  });

  test("every descriptor file of the contract passes as the message it is", () => {
    const { file } = AppendRequestSchema;
    const bytes = encode(FileDescriptorProtoSchema, file.proto);
    expect(inspectWire(FileDescriptorProtoSchema, bytes, 99_999).problem).toBeUndefined();
  });
});

describe("in steps", () => {
  const tags = Array.from({ length: 4_096 }, (_, i) => `tag-${i}`.padEnd(100, "x"));
  const large = encode(ReadRequestSchema, {
    selection: { case: "query", value: { items: [{ tags }] } },
  });

  /** The cost of each step but the last, and the request. */
  function stepsOf(bytes: Buffer) {
    const steps = decodeInSteps(ReadRequestSchema, bytes);
    const costs: number[] = [];
    for (;;) {
      const { done, value } = steps.next();
      if (done === true) return { costs, request: value };
      costs.push(value);
    }
  }

  test("a large request is inspected, decoded and given to its handler in turns", () => {
    const { costs, request } = stepsOf(large);
    // The query and its item are messages.
    const cost = large.length / 4 + 2 * 16;
    expect(costs).toEqual([cost, cost]);
    expect(request).toEqual(decodeRequest(ReadRequestSchema, large));
  });

  test("so is one that is small and nests many messages", () => {
    const items = Array.from({ length: 1_000 }, () => ({ types: ["t"], tags: ["a", "b"] }));
    const small = encode(ReadRequestSchema, { selection: { case: "query", value: { items } } });
    expect(small.length).toBeLessThan(64 * 1024);
    expect(stepsOf(small).costs.length).toBe(0);
    const one = { kind: { case: "boolValue" as const, value: true } };
    const values = Array.from({ length: 3_000 }, () => one);
    const list = encode(ValueSchema, { kind: { case: "listValue", value: { values } } });
    expect(list.length).toBeLessThan(64 * 1024);
    const steps = decodeInSteps(ValueSchema, list);
    expect(steps.next()).toMatchObject({ done: false });
  });

  test("a small one is decoded at once", () => {
    const small = encode(ReadRequestSchema, { selection: { case: "stream", value: "a" } });
    expect(stepsOf(small).costs).toEqual([]);
  });

  test("what is malformed is named before anything is made of it", () => {
    const bytes = Buffer.concat([large, hex("0a 02 c3 28")]);
    expect(() => decodeInSteps(ReadRequestSchema, bytes).next()).toThrow(
      "stream is not valid UTF-8",
    );
  });
});
