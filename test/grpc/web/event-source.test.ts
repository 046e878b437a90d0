// Server-Sent Events: frames and their ids, what a client that connects anew is told, and that a
// client which takes nothing has nothing read for it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { Source } from "../../support/event-source.ts";
import { ask, askByHttp2 } from "../../support/http.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

const { append } = EventStoreService.method;
const store = (stream: string, ...types: string[]) => {
  const events = types.map((type) => ({ type, tags: [`t:${type}`], ...json }));
  return server.calls.unary(append, { stream, events });
};
const value = Buffer.from('{"n":1}');
const json = { contentType: "application/json", payload: { case: "data" as const, value } };

describe("a subscription by Server-Sent Events", () => {
  test("gets what is stored, is told that it has caught up, and gets what comes", async () => {
    await store("live-1", "A", "B");
    const source = new Source(server.address, "/v1/subscribe?stream=live-1");
    await expect.poll(() => source.names()).toContain("caught_up");
    expect(source.response?.headers).toMatchObject({
      "content-type": "text/event-stream",
      "cache-control": "no-store",
    });
    await store("live-1", "C");
    await expect.poll(() => source.types).toEqual(["A", "B", "C"]);
    const [first] = source.frames;
    expect(first?.retry).toBe("1000");
    expect(first?.id).toMatch(/^\d+@[\da-f]{16}$/);
    expect(JSON.parse(first?.data ?? "")).toMatchObject({ json: { n: 1 }, version: "1" });
    source.close();
  });

  test("goes on behind the last id that its client has seen", async () => {
    await store("resumed", "A", "B", "C");
    const first = new Source(server.address, "/v1/subscribe?stream=resumed");
    await expect.poll(() => first.types).toHaveLength(3);
    const [, second = ""] = first.frames.flatMap(({ id }) => id ?? []);
    first.close();
    const again = new Source(server.address, "/v1/subscribe?stream=resumed&from=end", {
      "last-event-id": second,
    });
    await expect.poll(() => again.names()).toContain("caught_up");
    expect(again.types).toEqual(["C"]);
    again.close();
    const path = "/v1/subscribe?stream=resumed";
    const foreign = { "last-event-id": `1@${"0".repeat(16)}` };
    const refused = await ask(server.address, path, { headers: foreign });
    expect([refused.status, refused.json()["code"]]).toEqual([400, "failed_precondition"]);
    const none = await ask(server.address, path, { headers: { "last-event-id": "x" } });
    expect(none.json()["message"]).toBe("last-event-id: is no id of this server");
  });

  test("moves its id although nothing matches, with frames that have data", async () => {
    const source = new Source(server.address, "/v1/subscribe?type=Nothing&checkpoint_seconds=1");
    await expect.poll(() => source.names()).toContain("caught_up");
    const { head } = await store("other", "X");
    await expect.poll(() => source.lastId, { timeout: 5_000 }).toMatch(new RegExp(`^${head}@`));
    const { event, data } = source.frames.at(-1) ?? {};
    expect([event, JSON.parse(data ?? "")]).toMatchObject(["checkpoint", { position: `${head}` }]);
    source.close();
  });

  test.each([
    ["type=P&type=Q", ["P", "Q"]],
    ["tag=t:Q", ["Q"]],
    ["prefix=chosen-", ["P", "Q", "R"]],
    ["prefix=chosen-&tag=t:R", ["R"]],
    [`query=${encodeURIComponent('{"items":[{"types":["P"]},{"tags":["t:R"]}]}')}`, ["P", "R"]],
  ])("selects by %s", async (query, types) => {
    const { head } = await store("chosen-1", "P", "Q", "R");
    const source = new Source(server.address, `/v1/subscribe?${query}&after=${head - 3n}`);
    await expect.poll(() => source.names()).toContain("caught_up");
    expect(source.types).toEqual(types);
    source.close();
  });

  test.each([
    ["strem=a", "strem: is no parameter here; did you mean stream?"],
    ["after=1&after=2", "after: is given twice"],
    ["after=1&from=end", "from: excludes after"],
    ["after=-1", "after: is not a whole number"],
    ["from_time=yesterday", "from_time: is not a time like 2026-01-31T12:00:00Z"],
    ["view=all", "view: is not of json, full, headers"],
    ["query={}&stream=a", "query: excludes stream, type, tag and prefix"],
    ["query={%22itms%22:[]}", "itms: is no member of annals.v1.Query; did you mean items?"],
  ])("refuses %s by name", async (query, message) => {
    const { status, json: body } = await ask(server.address, `/v1/subscribe?${query}`);
    expect([status, body()["message"]]).toEqual([400, message]);
  });

  test("is a GET, by HTTP/2 as well", async () => {
    const posted = await ask(server.address, "/v1/subscribe", { method: "POST" });
    expect([posted.status, posted.headers.allow]).toEqual([405, "GET"]);
    const refused = await askByHttp2(server.address, "/v1/subscribe?x=1");
    expect(refused.status).toBe(400);
  });

  test("ends on a frame's boundary when the server stops, and a new one is told to wait", async () => {
    const own = await startTestServer();
    const source = new Source(own.address, "/v1/subscribe");
    await expect.poll(() => source.names()).toContain("caught_up");
    await own.stop();
    await expect.poll(() => source.ended).toBe(true);
    const [failure] = source.frames.filter(({ event }) => event === "failure");
    expect(JSON.parse(failure?.data ?? "")).toMatchObject({ code: "unavailable" });
    expect(failure?.id).toBeUndefined();
  });

  test("that takes nothing has no more read for it than fits, and then takes all", async () => {
    const events = Array.from({ length: 40 }, () => ({
      type: "Big",
      payload: { case: "data" as const, value: Buffer.alloc(100_000, 1) },
    }));
    await server.calls.unary(append, { stream: "untaken", events });
    await server.calls.unary(append, { stream: "untaken", events });
    await server.calls.unary(append, { stream: "untaken", events });
    const source = new Source(server.address, "/v1/subscribe?stream=untaken&view=full");
    await expect.poll(() => source.response, { timeout: 10_000 }).toBeDefined();
    source.response?.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const { status, body } = await ask(server.address, "/metrics");
    const held = /^annals_client_memory_bytes (\d+)/m.exec(body.toString())?.[1];
    expect(status).toBe(200);
    expect(Number(held)).toBeLessThan(4 * 1024 * 1024);
    source.response?.resume();
    await expect.poll(() => source.types.length, { timeout: 20_000 }).toBe(120);
    source.close();
  });
});
