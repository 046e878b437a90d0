// Long answers in JSON and base64: made in steps, they have the same text as made at once, and no
// step is long.
import {
  create,
  fromJson,
  toBinary,
  type DescMessage,
  type JsonValue,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { atOnce, stepBytes, type Steps } from "../../../src/domain/steps.ts";
import { RecordedEventSchema, type RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { ReadResponseSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { GetStateResponseSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import { AnswerText } from "../../../src/grpc/web/answer-text.ts";
import { writeMessage } from "../../../src/grpc/web/long-answer.ts";
import { jsonByCodec, jsonOfBytes } from "../../../src/grpc/web/message-json.ts";
import { toldOf, writeStructured } from "../../../src/grpc/web/recorded-cloud-event.ts";
import { SharedForms, type MakeForm } from "../../../src/grpc/transport/call-format.ts";
import { ask, askJson, envelopesIn } from "../../support/http.ts";
import { startTestServer } from "../../support/running-server.ts";
import { countTurns } from "../../support/turns.ts";

const text = fc.string({
  unit: fc.constantFrom("a", '"', "\\", "\n", "\u00e9", "\ud83d\ude00", "\0"),
});
const json = fc
  .jsonValue({ maxDepth: 4 })
  .map((value) => fromJson(ValueSchema, value as JsonValue));
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((value) => ({ data: value })),
  json.map((value) => ({ json: value })),
);
const event = fc
  .record({
    id: text,
    stream: text,
    type: text,
    tags: fc.array(text, { maxLength: 3 }),
    metadata: fc.dictionary(fc.constantFrom("a", "1", "\u00e9"), text, { maxKeys: 3 }),
    payload,
    version: fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
    position: fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
    recordedAt: fc.record({ seconds: fc.bigInt({ min: 0n, max: 2n ** 32n }) }),
  })
  .map(({ payload: of, ...others }) => create(RecordedEventSchema, { ...others, ...of }));

function bytesOf(events: RecordedEvent[], epoch = ""): Uint8Array {
  const message = { case: "batch" as const, value: { events } };
  return toBinary(ReadResponseSchema, create(ReadResponseSchema, { message, epoch }));
}

function eventWith(more: MessageInitShape<typeof RecordedEventSchema> = {}): RecordedEvent {
  return create(RecordedEventSchema, { type: "T", position: 7n, ...more });
}

function* made(schema: DescMessage, bytes: Uint8Array, atOnceBytesMax?: number): Steps<string> {
  const out = new AnswerText(bytes.length, atOnceBytesMax);
  yield* writeMessage(schema, bytes, out);
  return out.bytes().toString();
}

function stepped<T>(steps: Steps<T>): { value: T; costs: number[] } {
  const costs: number[] = [];
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return { value, costs };
    costs.push(value);
  }
}

describe("a message in steps", () => {
  test.each([0, 1, 64])("is the same, whatever is longer than %d bytes", (atOnceBytesMax) => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 4 }), text, (events, epoch) => {
        const bytes = bytesOf(events, epoch);
        const expected = jsonByCodec(ReadResponseSchema, bytes);
        expect(atOnce(made(ReadResponseSchema, bytes, atOnceBytesMax))).toBe(expected);
      }),
      { numRuns: 200 },
    );
  });

  const long = '\u00e9\ud83d\ude00"'.repeat(200_000);
  const numbers = Array.from({ length: 9_000 }, (_, i) => i);
  const nested = { list: [numbers, { "a b": long }], 10: long };
  test.each<[string, DescMessage, Uint8Array, number]>([
    [
      "a batch of small events",
      ReadResponseSchema,
      bytesOf(Array.from({ length: 5_000 }, () => eventWith())),
      10,
    ],
    [
      "a payload",
      ReadResponseSchema,
      bytesOf([eventWith({ data: Buffer.alloc(2_900_000, 0xfb) })]),
      4,
    ],
    [
      "values",
      ReadResponseSchema,
      bytesOf([eventWith({ json: fromJson(ValueSchema, nested) })]),
      20,
    ],
    [
      "a state as text",
      GetStateResponseSchema,
      toBinary(
        GetStateResponseSchema,
        create(GetStateResponseSchema, { stateJson: long, version: 3n }),
      ),
      8,
    ],
  ])("is made in short ones of %s", (_, schema, bytes, least) => {
    const { value, costs } = stepped(made(schema, bytes));
    expect(value === jsonOfBytes(schema, bytes)).toBe(true);
    expect(costs.length).toBeGreaterThan(least);
    expect(Math.max(...costs)).toBeLessThan(2 * stepBytes);
  });
});

describe("a CloudEvent in steps", () => {
  const list = `[${"1.50,".repeat(100_000)}\n2]`;
  test.each<[string, string, Buffer, string]>([
    ["JSON", "application/json", Buffer.from(list), `"data":${list.replace("\n", " ")}`],
    ["what is no JSON", "application/json", Buffer.from(list.repeat(2)), '"data_base64":"WzEuNTAs'],
    ["text", "text/plain", Buffer.from('"\n\u00e9'.repeat(100_000)), String.raw`"data":"\"\n`],
    ["bytes", "image/png", Buffer.alloc(900_000, 1), '"data_base64":"AQEB'],
  ])("has %s", (_, contentType, data, expected) => {
    const told = toldOf(eventWith({ id: "i", contentType, data }), "urn:x");
    const out = new AnswerText(data.length);
    const { costs } = stepped(writeStructured(told, out));
    const said = out.bytes().toString();
    expect(JSON.parse(said)).toMatchObject({ specversion: "1.0", id: "i", position: "7" });
    expect(said.includes(expected)).toBe(true);
    expect(costs.length).toBeGreaterThan(0);
    expect(Math.max(...costs)).toBeLessThan(2 * stepBytes);
  });
});

describe("a form that several calls want", () => {
  const message = Buffer.from("message");
  let begun = 0;
  const make: MakeForm = function* () {
    begun++;
    yield 1;
    yield 2;
    return Buffer.from("form");
  };

  test("is made once, a step by each of them, also where one goes away", () => {
    begun = 0;
    const forms = new SharedForms();
    const [first, second] = [forms.inSteps(message, make), forms.inSteps(message, make)];
    expect(first?.next().value).toBe(1);
    expect(second?.next().value).toBe(2);
    expect(second?.next()).toMatchObject({ done: true });
    expect(forms.inSteps(message, make)).toBeUndefined();
    expect(forms.of(message, make).toString()).toBe("form");
    expect(begun).toBe(1);
  });

  test("begins anew where making it has failed", () => {
    begun = 0;
    const forms = new SharedForms();
    const failing: MakeForm = function* () {
      yield 1;
      throw new Error("failed");
    };
    const first = forms.inSteps(message, failing);
    first?.next();
    const second = forms.inSteps(message, make);
    expect(() => first?.next()).toThrow("failed");
    expect(atOnce(second as Steps<Buffer>).toString()).toBe("form");
    expect(begun).toBe(1);
  });
});

test("others have the thread while a long answer is made, in every form", async () => {
  const server = await startTestServer();
  onTestFinished(() => server.stop());
  const events = Array.from({ length: 5_000 }, () => ({ type: "T" }));
  await server.calls.unary(EventStoreService.method.append, { stream: "s", events });
  const turn = countTurns();
  const turns = new Set<number>();
  const { value: take } = Object.getOwnPropertyDescriptor(AnswerText.prototype, "take") ?? {};
  const taken = vi.spyOn(AnswerText.prototype, "take").mockImplementation(function (
    this: AnswerText,
  ) {
    turns.add(turn());
    return (take as (this: AnswerText) => number).call(this);
  });
  onTestFinished(() => {
    taken.mockRestore();
  });
  const path = "/annals.v1.EventStoreService/Read";
  const headers = { "content-type": "application/connect+json" };
  const read = await ask(server.address, path, { headers, body: Buffer.from("\0\0\0\0\u0002{}") });
  const batches = envelopesIn(read.body).map(
    ({ message }) => JSON.parse(message.toString()) as Told,
  );
  expect(batches.flatMap(({ batch }) => batch?.events ?? [])).toHaveLength(5_000);
  expect(turns.size).toBeGreaterThan(3);
  turns.clear();
  const listed = await ask(server.address, "/v1/events?limit=5000");
  expect(JSON.parse(listed.body.toString())).toHaveLength(5_000);
  expect(turns.size).toBeGreaterThan(3);
  turns.clear();
  const patch = { text: "x\u00e9".repeat(300_000) };
  await askJson(server.address, "EventStoreService/Append", {
    stream: "state",
    events: [{ type: "T", json: patch }],
  });
  const state = await askJson(server.address, "EventStoreService/GetState", { stream: "state" });
  expect(state.json()).toMatchObject({ state: patch, stateJson: JSON.stringify(patch) });
  expect(turns.size).toBeGreaterThan(3);
});

interface Told {
  readonly batch?: { readonly events: readonly unknown[] };
}
