// A JSON payload is stored as the same bytes, whether it comes as JSON by HTTP or as a value by
// gRPC: the same event by the other way is a retry, and no other event.
import { fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { askJson } from "../../support/http.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

const { append } = EventStoreService.method;

async function assertSameByBoth(json: unknown, contentType: string): Promise<void> {
  const id = crypto.randomUUID();
  const event = { id, type: "Noted", contentType };
  const sent = { stream: "both", events: [{ ...event, json }] };
  const answer = await askJson(server.address, "EventStoreService/Append", sent);
  expect(answer.json()).toMatchObject({ streams: [{ stream: "both" }] });
  const value = fromJson(ValueSchema, json as never);
  const payload = { case: "json" as const, value };
  const again = await server.calls.unary(append, {
    stream: "both",
    events: [{ ...event, payload }],
  });
  expect(again.deduplicated).toBe(true);
}

test.each([
  ["null", null],
  ["a number that is written otherwise", [1e21, -0, 1.0, 1e-7, 100000000000000000000]],
  ["keys in another order", { b: 1, a: { d: [], c: {} }, "": "" }],
  ["a key of prototypes", JSON.parse('{"__proto__":{"a":1},"constructor":2}')],
  ["text of every kind", '\u0000\u001f"\\\u2028\ud83d\ude00é'],
])("%s", async (_, json) => {
  await assertSameByBoth(json, "");
  await assertSameByBoth(json, "application/vnd.acme+json");
});

test("whatever it is", async () => {
  const any = fc.jsonValue({ maxDepth: 4, noUnicodeString: false });
  await fc.assert(
    fc.asyncProperty(any, (json) => assertSameByBoth(json, "")),
    { numRuns: 100 },
  );
}, 120_000);

test("with a content type that is not JSON it is refused, by the member's name", async () => {
  const events = [{ type: "Noted", contentType: "text/plain", json: {} }];
  const { status, body } = await askJson(server.address, "EventStoreService/Append", {
    stream: "both",
    events,
  });
  expect(status).toBe(400);
  expect(body.toString()).toContain("content_type: is not application/json");
});
