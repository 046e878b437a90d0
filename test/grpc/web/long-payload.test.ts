// Long payloads in JSON requests: read in short steps, they are what shorter ones are; and what would
// take long steps is refused by name before the work.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromBinary } from "@bufbuild/protobuf";
import { canonicalJson, type Json } from "../../../src/domain/json.ts";
import { stepBytes } from "../../../src/domain/steps.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { SaveSnapshotRequestSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import { cloudEventsInSteps } from "../../../src/grpc/web/cloud-event.ts";
import { appendOfCloudEvents } from "../../../src/grpc/web/cloud-event-answers.ts";
import { requestInSteps } from "../../../src/grpc/web/long-json.ts";

/** The longest step of a text of 2.9 MB, the most that a payload may have, is about 11 ms. */
const mostCost = 12 * stepBytes;
const payloadBytes = 2_900_000;

interface Made {
  readonly bytes: Buffer;
  readonly most: number;
}

function made(body: string, schema: Parameters<typeof requestInSteps>[0]): Made {
  return inSteps(requestInSteps(schema, Buffer.from(body)));
}

function inSteps(steps: ReturnType<typeof requestInSteps>): Made {
  for (let most = 0; ;) {
    const { done, value } = steps.next();
    if (done === true) return { bytes: value, most };
    most = Math.max(most, value);
  }
}

function eventOf(event: string) {
  const { bytes, most } = made(`{"stream":"s","events":[${event}]}`, AppendRequestSchema);
  const [found] = fromBinary(AppendRequestSchema, bytes).events;
  if (found === undefined) throw new Error("no event");
  expect(most).toBeLessThan(mostCost);
  return found;
}

/** JSON that is long enough to be taken out of its event. */
const longJson = fc
  .jsonValue({ maxDepth: 4 })
  .map((value) => ({ value: value as Json, z: "z".repeat(70_000) }));

describe("a payload", () => {
  test("in base64 keeps its bytes, in both alphabets", () => {
    fc.assert(
      fc.property(fc.nat(70_000), fc.boolean(), fc.boolean(), (more, isUrl, isEscaped) => {
        const data = Buffer.alloc(60_000 + more, "\u00fe\u00ff~?");
        const text = data.toString(isUrl ? "base64url" : "base64");
        const said = isEscaped ? text.replaceAll("/", "\\/") : text;
        const { payload, type, contentType } = eventOf(`{"data":"${said}","type":"T"}`);
        expect([payload.case, type, contentType]).toEqual(["data", "T", ""]);
        expect(Buffer.compare(payload.value as Uint8Array, data)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  test("in JSON becomes the text that is stored", () => {
    fc.assert(
      fc.property(longJson, fc.constantFrom("", "application/a+json"), (value, contentType) => {
        const event = { json: value, ...(contentType !== "" && { contentType }), type: "T" };
        const found = eventOf(JSON.stringify(event));
        expect(found.payload.case).toBe("data");
        expect(Buffer.from(found.payload.value as Uint8Array).toString()).toBe(
          canonicalJson(value),
        );
        expect(found.contentType).toBe(contentType || "application/json");
      }),
      { numRuns: 50 },
    );
  });

  test("in JSON whose content type is another one is left to be refused", () => {
    const event = { type: "T", contentType: "text/plain", json: "x".repeat(70_000) };
    expect(eventOf(JSON.stringify(event)).payload.case).toBe("json");
  });

  test.each([
    ["bytes", `"data":"${Buffer.alloc(payloadBytes, 7).toString("base64")}"`],
    ["a text", `"json":"${"\u00e9".repeat(payloadBytes / 2)}"`],
    ["texts with escapes", `"json":[${'"\\u00e9\\n",'.repeat(10_000)}"${"\\n".repeat(500_000)}"]`],
    ["numbers", `"json":[${"12345.25e-3,".repeat(10_000)}1]`],
    [
      "members",
      `"json":${JSON.stringify(Array.from({ length: 300 }, () => ({ a: "b".repeat(9_000) })))}`,
    ],
  ])("of as many %s as there may be is made in short steps", (_, payload) => {
    expect((eventOf(`{"type":"T",${payload}}`).payload.value as Uint8Array).length).toBeGreaterThan(
      9_000,
    );
  });

  test("of a snapshot is made in short steps, too", () => {
    const json = Array.from({ length: 3_000 }, (_, i) => ({ [`m${i}`]: "v".repeat(800) }));
    const body = JSON.stringify({ stream: "s", kind: "k", version: "1", json });
    const { bytes, most } = made(body, SaveSnapshotRequestSchema);
    expect(most).toBeLessThan(mostCost);
    const { state, contentType } = fromBinary(SaveSnapshotRequestSchema, bytes);
    expect([state.case, contentType]).toEqual(["data", "application/json"]);
    expect(Buffer.from(state.value as Uint8Array).toString()).toBe(canonicalJson(json));
  });
});

const many = "\\u00e9".repeat(200_000);

describe("refused by name, before the work", () => {
  test.each([
    [`{"type":"${many}"}`, "a text with escapes of more than 1048576 bytes"],
    [`{"type":"T","json":["${many}"]}`, "a text with escapes of more than 1048576 bytes"],
    [`{"type":"${"t".repeat(300_000)}"}`, "more than 262144 bytes beside the payload of an event"],
    [`{"type":"T","tags":[${"1e308,".repeat(50_000)}1]}`, "an event of more than 11000 values"],
    [`{"type":"T","json":[${"1e308,".repeat(9_000)}1e309]}`, "number that no IEEE 754 double is"],
    [`{"type":"T","json":${"9".repeat(1_000_000)}}`, "number that no IEEE 754 double is"],
    [`{"type":"T","json":{"a":"${"b".repeat(70_000)}","a":1}}`, 'json: duplicate object key "a"'],
    [`{"type":"T","json":["${"b".repeat(70_000)}",]}`, "json: is not JSON"],
    [`{"type":"T","json":["${"b".repeat(70_000)}\t"]}`, "json: is not JSON"],
    [`{"type":"T","data":"${"a b=".repeat(40_000)}"}`, "data: is not base64"],
    [`{"type":"T","data":"${"abcd".repeat(40_000)}!"}`, "data: is not base64"],
    [`{"type":"T","data":"${"abcd".repeat(40_000)}a"}`, "data: is not base64"],
    [`{"type":"T","data":"${"abcd".repeat(40_000)}","json":1}`, "oneof"],
    [`{"type":"T","data":"${"abcd".repeat(40_000)}","data":"aa"}`, "duplicate object key"],
    [`{"type":"T","other":"${"abcd".repeat(40_000)}"}`, "other: is no member"],
  ])("%.48s", (event, why) => {
    expect(() => eventOf(event)).toThrow(why);
  });
});

describe("CloudEvents", () => {
  const headers = (type: string) =>
    new Map([["content-type", `application/cloudevents${type}+json`]]);
  const read = (body: string, type = "") => {
    const decoding = appendOfCloudEvents("stream=s", headers(type));
    if (decoding === undefined) throw new Error("no CloudEvent");
    const { bytes, most } = inSteps(decoding.decodeInSteps(Buffer.from(body)));
    expect(most).toBeLessThan(1.5 * mostCost);
    return fromBinary(AppendRequestSchema, bytes).events;
  };
  const required = '"specversion":"1.0","id":"1","source":"/s","type":"T"';

  test.each([
    ["bytes", `"data_base64":"${Buffer.alloc(payloadBytes, 7).toString("base64")}"`],
    ["a text", `"data":"${"\u00e9".repeat(payloadBytes / 2)}"`],
    ["numbers", `"data":[${"0.12345678901234567890,".repeat(100_000)}1]`],
  ])("with as many %s as there may be are read in short steps", (_, data) => {
    const [event] = read(`{${required},${data}}`);
    const value = event?.payload.value as Uint8Array | undefined;
    expect(value?.length).toBeGreaterThan(2_000_000);
  });

  test("with numbers keep each digit", () => {
    const numbers = `[${"0.12345678901234567890,".repeat(20_000)}{"b":[],"a":"\u00e9"}]`;
    const [event] = read(`{${required},"data":${numbers}}`);
    expect(Buffer.from(event?.payload.value as Uint8Array).toString()).toBe(numbers);
  });

  test("of a batch are read in short steps, and keep their order", () => {
    const events = Array.from({ length: 5_000 }, (_, i) => `{${required},"data":${i}}`);
    const found = read(`[${events.join()}]`, "-batch");
    expect(found).toHaveLength(5_000);
    expect(Buffer.from(found[4_999]?.payload.value as Uint8Array).toString()).toBe("4999");
  });

  test.each([
    ["long lists as text", `"tags":"[${'\\"a\\",'.repeat(60)}${" ".repeat(120_000)}\\"b\\"]"`],
    ["many nulls", Array.from({ length: 10_000 }, (_, i) => `"x${i}":null`).join()],
  ])("of a batch with %s are each read in a step of their own", (_, tags) => {
    const events = Array.from({ length: 20 }, () => `{${required},${tags}}`);
    const body = Buffer.from(`[${events.join()}]`);
    const mode = { isBatch: true, inStream: true };
    let count = 0;
    const steps = cloudEventsInSteps(body, mode, () => count++);
    let most = 0;
    for (let before = 0; steps.next().done !== true; before = count) {
      most = Math.max(most, count - before);
    }
    expect([count, most]).toEqual([20, 1]);
  });

  test.each([
    [`{${required},"data":"${many}"}`, "a text with escapes of more than 1048576 bytes"],
    [`{${required},"x":"${"x".repeat(200_000)}"}`, "x: has more than 16384 characters"],
    [
      `{${required},${Array.from({ length: 100 }, (_, i) => `"x${i}":1`).join()}}`,
      "event: has more than 80 attributes",
    ],
    [
      `{${required},"tags":"[${'\\"a\\",'.repeat(64)}\\"b\\"]"}`,
      "tags: has more entries than tags_max (64)",
    ],
    [
      `{${required},"metadata":"{${Array.from({ length: 65 }, (_, i) => `\\"k${i}\\":\\"v\\"`).join()}}"}`,
      "metadata: has more entries than metadata_entries_max (64)",
    ],
    [
      `{${required},"data":{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":1`).join()}}}`,
      "body: has an object of more than 16384 members",
    ],
    [
      `{${required},"data":{"${"k".repeat(70_000)}":1}}`,
      "body: has a key of more than 65536 bytes",
    ],
    [`{${required},"data":{"a":1,"a":2}}`, 'body: duplicate object key "a"'],
    [`{${required},"data":[${"[".repeat(600)}`, "nests deeper than 500 levels"],
    [`{${required},"data_base64":"a b="}`, "data_base64: is not base64"],
  ])("%.60s is refused", (body, why) => {
    expect(() => read(body)).toThrow(why);
  });

  test("of too many events are refused", () => {
    const why = "events: has more entries than append_events_max (5000)";
    expect(() => read(`[${"{},".repeat(6_000)}{}]`, "-batch")).toThrow(why);
  });
});
