// Access control of the KurrentDB protocol: what it reads, links included, is within the grants, and
// what it appends has its principal.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { accessFolder, showing, type AccessFolder } from "../../support/access.ts";
import { Calls, collect, failedOf } from "../../support/calls.ts";
import type { TestServer } from "../../support/running-server.ts";
import { append, events, m, named, ofAll, ofStream, read, startKurrent } from "./kurrent-client.ts";
import { create, Reader } from "./persistent/persistent-client.ts";

let folder: AccessFolder;
let server: TestServer;
let clients: Record<"writer" | "reader" | "orders" | "owner", Calls>;
let admin: string;
beforeEach(async () => {
  folder = accessFolder({ roles: { orders: { read: ["order-"], append: ["order-"] } } });
  const tokens = {
    writer: await folder.token("writer", ["writer"]),
    reader: await folder.token("reader", ["reader"]),
    orders: await folder.token("orders", ["orders"]),
    owner: await folder.token("owner", ["admin"]),
  };
  admin = await folder.token("root", ["admin"]);
  server = await startKurrent(...folder.flags);
  clients = {
    writer: clientWith(tokens.writer),
    reader: clientWith(tokens.reader),
    orders: clientWith(tokens.orders),
    owner: clientWith(tokens.owner),
  };
});
afterEach(async () => {
  for (const calls of Object.values(clients)) calls.close();
  await server.stop();
  folder.remove();
});

function clientWith(token: string): Calls {
  return new Calls(server.address, undefined, showing(token));
}

const code = async (promise: Promise<unknown>) => (await failedOf(promise)).code;

describe("a principal of the KurrentDB protocol", () => {
  test("reads within its grant, and resolves links only where it may read everything", async () => {
    const { orders, writer, reader } = clients;
    await append(writer, "secret-1", [{ data: '"hidden"' }]);
    await append(orders, "order-1", [{ type: "$>", data: "0@secret-1" }]);
    const linked = { streamOption: ofStream("order-1"), resolveLinks: true };
    expect(await code(read(orders, linked))).toBe(7);
    expect(await events(orders, { streamOption: ofStream("order-1") })).toHaveLength(1);
    expect(await code(events(orders, { streamOption: ofStream("secret-1") }))).toBe(7);
    expect(await code(events(orders, { streamOption: ofStream("$ce-secret") }))).toBe(7);
    expect(await code(events(orders, { streamOption: ofAll() }))).toBe(7);
    expect(await events(reader, { streamOption: ofStream("$ce-secret") })).toHaveLength(1);
    expect(await code(append(orders, "secret-1", [{}]))).toBe(7);
  });

  test("does not see the audit trail, by its stream, its types, links or $all", async () => {
    const { orders, writer, reader } = clients;
    expect(await code(append(orders, "secret-1", [{}]))).toBe(7);
    const { read: readLog } = EventStoreService.method;
    const ofAudit = { selection: { case: "stream", value: "$audit" } } as const;
    const trail = () => collect(server.calls.stream(readLog, ofAudit, showing(admin)));
    while ((await trail()).length < 2) await new Promise((resolve) => setTimeout(resolve, 50));
    await append(writer, "order-1", [{ type: "$>", data: "0@$audit" }]);
    expect(await code(events(reader, { streamOption: ofStream("$audit") }))).toBe(7);
    expect(await code(events(reader, { streamOption: ofStream("$et-$AuditDenied") }))).toBe(7);
    const seen = await events(reader, { streamOption: ofAll(), resolveLinks: true });
    expect(seen.some(({ metadata }) => metadata["type"]?.startsWith("$Audit"))).toBe(false);
    expect(seen.map(({ metadata }) => metadata["type"])).toContain("$>");
  });

  test("cannot write, cut off or end the audit trail, whatever its grants", async () => {
    const { writer, owner } = clients;
    const forged = [{ type: "$AuditManaged", data: '{"principal":"root"}' }];
    const cut = [{ type: "$metadata", data: '{"$maxCount":1}' }];
    const target = { streamIdentifier: named("$audit") };
    const ending = {
      options: { ...target, expectedStreamRevision: { case: "any", value: {} } },
    } as const;
    expect(await code(append(writer, "$audit", [{}]))).toBe(7);
    expect(await code(append(owner, "$audit", [{}]))).toBe(7);
    expect(await code(append(owner, "$$$audit", cut))).toBe(7);
    expect(await code(owner.unary(m.delete, ending))).toBe(7);
    expect(await code(owner.unary(m.tombstone, ending))).toBe(7);
    expect(await code(append(writer, "order-1", forged))).toBe(3);
  });

  test("is no consumer of a persistent subscription any more once that is revoked", async () => {
    const { owner, orders } = clients;
    await create(owner);
    await append(owner, "s", [{}]);
    const consumer = { read: ["s"], append: ["order-"], consume: ["s::"] };
    folder.write({ roles: { orders: consumer } });
    const joined = async (): Promise<Reader> => {
      for (;;) {
        const reader = await new Reader(orders).confirmed().catch(() => undefined);
        if (reader !== undefined) return reader;
      }
    };
    const reader = await joined();
    await reader.get(1);
    folder.write({ roles: { orders: { ...consumer, consume: ["other::"] } } });
    expect(await code(reader.next())).toBe(7);
  });

  test("is recorded with what it appends", async () => {
    await append(clients.writer, "order-1", [{}]);
    const answers = await collect(
      server.calls.stream(EventStoreService.method.read, {}, showing(admin)),
    );
    const found = answers.flatMap(({ message }) =>
      message.case === "batch" ? message.value.events : [],
    );
    expect(found.map(({ principal }) => principal)).toEqual(["writer"]);
  });
});
