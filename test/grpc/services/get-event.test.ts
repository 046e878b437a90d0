// GetEvent over a real socket: an event by its id, of clients and of the store, for as long as the log is.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { View } from "../../../src/gen/annals/v1/event_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { json, m, read } from "./store-requests.ts";

const folder = mkdtempSync(join(tmpdir(), "annals-get-event-"));
afterAll(() => rmSync(folder, { recursive: true }));

const version4 = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
const version7 = "01890a5d-ac96-774b-bcce-b302099a8057";

describe.each([
  ["in memory", []],
  ["on disk", ["--data"]],
])("a store %s", (_, flags) => {
  let server: TestServer;
  let count = 0;
  const start = () => startTestServer(flags.map((flag) => [flag, join(folder, `${count}`)]).flat());
  beforeEach(async () => {
    count += 1;
    server = await start();
  });
  afterEach(() => server.stop());
  const get = async (id: string, stream = "", view = View.FULL) =>
    (await server.calls.unary(m.getEvent, { id, stream, view })).event;

  test("finds ids that clients chose, of any version, and those that the store made", async () => {
    const events = [version4, version7, ""].map((id) => ({ id, type: "T", payload: json({ id }) }));
    const { eventIds } = await server.calls.unary(m.append, { stream: "s", events });
    expect(eventIds).toHaveLength(3);
    const stored = (await read(server, {})).events;
    for (const [i, id] of eventIds.entries()) expect(await get(id)).toEqual(stored[i]);
    expect((await get(version4.toUpperCase()))?.version).toBe(1n);
    if (flags.length === 0) return;
    await server.stop();
    server = await start();
    for (const [i, id] of eventIds.entries()) expect(await get(id)).toEqual(stored[i]);
  });

  test("answers with no event where there is none", async () => {
    await server.calls.unary(m.append, { stream: "s", events: [{ type: "T" }] });
    const [stored] = (await read(server, {})).events;
    expect(await get(version4)).toBeUndefined();
    // The position is that of an event, and the rest is not its id.
    const { id = "" } = stored ?? {};
    expect(await get(`00000000${id.slice(8)}`)).toBeUndefined();
  });

  test("looks in one stream if asked, and only there finds system events", async () => {
    await server.calls.unary(m.append, { stream: "s", events: [{ id: version4, type: "T" }] });
    const policy = { maxCount: 5n };
    await server.calls.unary(StreamService.method.updateStream, { stream: "s", policy });
    expect((await get(version4, "s"))?.position).toBe(1n);
    expect(await get(version4, "other")).toBeUndefined();
    const lifecycle = "$lifecycle-s";
    const selection = { case: "stream", value: lifecycle } as const;
    const [change] = (await read(server, { selection })).events;
    const { id = "" } = change ?? {};
    expect(await get(id)).toBeUndefined();
    expect(await get(id, lifecycle)).toEqual(change);
  });

  test("finds an event without a stream", async () => {
    await server.calls.unary(m.append, { events: [{ id: version4, type: "T", tags: ["t"] }] });
    expect(await get(version4)).toMatchObject({ stream: "", type: "T", position: 1n });
  });

  test("returns what the view says", async () => {
    const events = [{ id: version4, type: "T", payload: json({ n: 1 }) }];
    await server.calls.unary(m.append, { stream: "s", events });
    expect((await get(version4, "", View.HEADERS))?.data).toHaveLength(0);
    const { json: shown, data } = (await get(version4, "", View.JSON)) ?? {};
    expect(data).toHaveLength(0);
    expect(shown?.kind.case).toBe("structValue");
  });

  test("returns a removed event as such", async () => {
    const events = [{ id: version4, type: "T", payload: json({ n: 1 }) }, { type: "T" }];
    await server.calls.unary(m.append, { stream: "s", events });
    const policy = { truncateBefore: 2n };
    await server.calls.unary(StreamService.method.updateStream, { stream: "s", policy });
    const found = await get(version4);
    expect(found).toMatchObject({ id: version4, stream: "s", version: 1n });
    expect(found?.removed?.policyPosition).toBe(3n);
    expect(found?.data).toHaveLength(0);
  });

  test.each([
    ["no UUID", { id: "17" }, "id"],
    ["nothing", {}, "id"],
    ["the nil UUID", { id: "00000000-0000-0000-0000-000000000000" }, "id"],
    ["a stream of too many bytes", { id: version4, stream: "x".repeat(513) }, "stream"],
  ])("refuses %s by the field", async (_name, request, field) => {
    expect(await server.calls.failure(m.getEvent, request)).toMatchObject({
      code: 3,
      badRequest: { fieldViolations: [{ field }] },
    });
  });
});
