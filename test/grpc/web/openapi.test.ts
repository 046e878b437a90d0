// The contract as OpenAPI: every method that HTTP carries is in it, and what it says of requests and
// answers is true of some. A published validator judges the document in test/clients/web.test.ts.
import { afterAll, beforeAll, expect, test } from "vitest";
import { BackupService } from "../../../src/gen/annals/v1/backup_service_pb.js";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { ask, askByHttp2, askJson } from "../../support/http.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

interface Schema {
  readonly $ref?: string;
  readonly type?: string | string[];
  readonly enum?: string[];
  readonly items?: Schema;
  readonly properties?: Record<string, Schema>;
  readonly additionalProperties?: Schema | boolean;
}

interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, { responses: Record<string, Answer> }>>;
  readonly components: { readonly schemas: Record<string, Schema> };
}

interface Answer {
  readonly content: Record<string, { schema: Schema }>;
}

let server: TestServer;
let document: Document;
beforeAll(async () => {
  server = await startTestServer();
  const { body } = await ask(server.address, "/openapi.json");
  document = JSON.parse(body.toString()) as Document;
});
afterAll(() => server.stop());

test("it has every method that HTTP carries, and every route", () => {
  const all = [
    EventStoreService,
    StreamService,
    CheckpointService,
    ConsumerGroupService,
    BackupService,
  ].flatMap(({ methods }) => [...methods]);
  const carried = all.filter(({ methodKind }) => !/^(bidi|client)_/.test(methodKind));
  const paths = carried.map(({ parent, name }) => `/${parent.typeName}/${name}`);
  const routes = ["/v1/subscribe", "/v1/events", "/v1/events/{position}"];
  expect(Object.keys(document.paths).toSorted()).toEqual([...paths, ...routes].toSorted());
});

test("it is the same by HTTP/2, and by GET alone", async () => {
  const { headers, body } = await askByHttp2(server.address, "/openapi.json");
  expect(headers["content-type"]).toBe("application/json");
  expect(JSON.parse(body.toString())).toEqual(document);
  const posted = await ask(server.address, "/openapi.json", { method: "POST" });
  expect([posted.status, posted.headers.allow]).toEqual([405, "GET"]);
});

/** Where a value is not what its schema says. */
function faults(value: unknown, schema: Schema, where = "$"): string[] {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace("#/components/schemas/", "");
    const named = document.components.schemas[name];
    return named === undefined ? [`${where}: no ${name}`] : faults(value, named, where);
  }
  if (schema.enum !== undefined && !schema.enum.includes(value as string)) return [where];
  const types = [schema.type ?? []].flat();
  const type = Array.isArray(value) ? "array" : typeof value;
  const isInteger = type === "number" && types.includes("integer") && Number.isInteger(value);
  if (types.length > 0 && !types.includes(type) && !isInteger) return [`${where}: is ${type}`];
  if (Array.isArray(value)) {
    return value.flatMap((each, i) => faults(each, schema.items ?? {}, `${where}[${i}]`));
  }
  if (type !== "object" || schema.properties === undefined) return [];
  return Object.entries(value as object).flatMap(([name, each]) => {
    const member = schema.properties?.[name];
    return member === undefined
      ? [`${where}.${name}: unknown`]
      : faults(each, member, `${where}.${name}`);
  });
}

test.each([
  [
    "Append",
    { stream: "a-1", events: [{ type: "A", json: { n: 1 }, tags: ["t"], metadata: { a: "b" } }] },
  ],
  ["GetInfo", {}],
  ["GetStream", { stream: "a-1" }],
  ["GetEvent", { id: "0190a1a2-0000-7000-8000-000000000001" }],
  ["ListStreams", {}],
  ["ListEventTypes", {}],
  ["GetState", { stream: "a-1" }],
])("an answer to %s is what it says", async (method, request) => {
  const { status, json } = await askJson(server.address, `EventStoreService/${method}`, request);
  expect(status).toBe(200);
  const { responses } = document.paths[`/annals.v1.EventStoreService/${method}`]?.["post"] ?? {};
  const schema = responses?.["200"]?.content["application/json"]?.schema;
  expect(schema).toBeDefined();
  expect(faults(json(), schema ?? {})).toEqual([]);
});

test("an error is what it says", async () => {
  const { json } = await askJson(server.address, "EventStoreService/GetStream", { stream: "none" });
  expect(faults(json(), { $ref: "#/components/schemas/Error" })).toEqual([]);
});
