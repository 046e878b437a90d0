// What the metrics say of a server that works: each figure follows what was done.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { ConsumerGroupService } from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { collect } from "../support/calls.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";

const { append, read, subscribe, getStream } = EventStoreService.method;
const { createGroup } = ConsumerGroupService.method;

let server: TestServer;
afterEach(() => server.stop());

/** The samples of a text, by name and labels as they are written. */
async function scrape(accept = "text/plain"): Promise<Map<string, number>> {
  const response = await fetch(`http://${server.address}/metrics`, { headers: { accept } });
  expect(response.status).toBe(200);
  const lines = (await response.text()).split("\n");
  const samples = lines.filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    samples.map((line) => {
      const space = line.lastIndexOf(" ");
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

/** A look soon after another is answered with the same. */
async function later(): Promise<Map<string, number>> {
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  return scrape();
}

const one = (stream: string) => ({ stream, events: [{ type: "T" }] });
const call = (method: string, status: string, error = "") => {
  const failed = error === "" ? "" : `,error_type="${error}"`;
  const name = `rpc_system_name="grpc",rpc_method="annals.v1.EventStoreService/${method}"`;
  const labels = `${name},rpc_status_code="${status}"${failed}`;
  return `rpc_server_call_duration_seconds_count{${labels}}`;
};

describe("the metrics", () => {
  test("count calls by method and status, and how they changed the log", async () => {
    server = await startTestServer();
    for (let i = 0; i < 5; i++) await server.calls.unary(append, one("s"));
    const expected = { case: "expectedVersion", value: 1n } as const;
    await server.calls.failure(append, { ...one("s"), expected });
    await server.calls.failure(getStream, { stream: "none" });
    await collect(server.calls.stream(read, {}));
    const samples = await scrape();
    expect(samples.get(call("GetStream", "NOT_FOUND", "NOT_FOUND"))).toBe(1);
    expect(samples.get(call("Append", "ABORTED", "ABORTED"))).toBe(1);
    expect(samples.get(call("Append", "OK"))).toBe(5);
    expect(samples.get(call("Read", "OK"))).toBe(1);
    expect(samples.get('annals_appends_total{outcome="appended"}')).toBe(5);
    expect(samples.get('annals_appends_total{outcome="conflict"}')).toBe(1);
    expect(samples.get("annals_events_appended_total")).toBe(5);
    expect(samples.get("annals_head_position")).toBe(5);
    expect(samples.get("annals_commit_duration_seconds_count")).toBe(5);
    expect(samples.get('annals_write_state{state="accepting"}')).toBe(1);
    expect(samples.get("annals_append_queue_entries")).toBe(0);
    const request = `{rpc_system_name="grpc",rpc_method="annals.v1.EventStoreService/Read"}`;
    expect(samples.get(`annals_rpc_request_size_bytes_sum${request}`)).toBe(5);
    expect(samples.get(`annals_rpc_response_size_bytes_sum${request}`)).toBeGreaterThan(100);
  });

  test("tell subscriptions that are live, and those that are behind and how far", async () => {
    server = await startTestServer();
    await server.calls.unary(append, one("s"));
    const live = server.calls.stream(subscribe, {});
    for await (const { message } of live) if (message.case === "caughtUp") break;
    const samples = await scrape();
    expect(samples.get('annals_subscriptions{state="live"}')).toBe(1);
    expect(samples.get("annals_subscription_lag_events")).toBe(0);
    live.cancel();
    const after = await later();
    expect(after.get('annals_subscriptions{state="live"}')).toBe(0);
  });

  test("tell of each group its lag in events and seconds, its members and what is parked", async () => {
    server = await startTestServer();
    for (let i = 0; i < 3; i++) await server.calls.unary(append, one("s"));
    await server.calls.unary(createGroup, { name: "shipping", settings: { query: {} } });
    const samples = await scrape();
    expect(samples.get('annals_group_lag_events{group="shipping"}')).toBe(3);
    expect(samples.get('annals_group_lag_seconds{group="shipping"}')).toBeGreaterThan(0);
    expect(samples.get('annals_group_members{group="shipping"}')).toBe(0);
    expect(samples.get('annals_group_parked_events{group="shipping"}')).toBe(0);
    expect(samples.get('annals_group_in_flight_events{group="shipping"}')).toBe(0);
  });

  test("tell of the disk, the scrubber and the reclaimer of a store on disk", async () => {
    const folder = mkdtempSync(join(tmpdir(), "annals-metrics-"));
    server = await startTestServer(["--data", folder]);
    await server.calls.unary(append, one("s"));
    const samples = await scrape();
    expect(samples.get("annals_disk_used_bytes")).toBeGreaterThan(1_000);
    expect(samples.get("annals_disk_free_bytes")).toBeGreaterThan(0);
    expect(samples.get("annals_disk_reserve_bytes")).toBe(256 * 1024 * 1024);
    expect(samples.get("annals_scrub_findings_total")).toBe(0);
    expect(samples.get("annals_reclaim_freed_bytes_total")).toBe(0);
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  test("tell of the process, and after the first look how late its event loop is", async () => {
    server = await startTestServer();
    const first = await scrape();
    expect(first.get("process_resident_memory_bytes")).toBeGreaterThan(1e6);
    expect(first.get("process_cpu_seconds_total")).toBeGreaterThan(0);
    expect(first.get('nodejs_memory_bytes{kind="heap_used"}')).toBeGreaterThan(1e6);
    expect(first.has("nodejs_eventloop_delay_p99_seconds")).toBe(false);
    const second = await later();
    expect(second.get("nodejs_eventloop_delay_p99_seconds")).toBeGreaterThanOrEqual(0);
  });

  test("have no name that a client chose as a label, but those of groups", async () => {
    server = await startTestServer();
    await server.calls.unary(append, {
      stream: "secret-stream",
      events: [{ type: "SecretType", tags: ["secret:tag"], metadata: { secret: "m" } }],
    });
    await server.calls.failure(getStream, { stream: "secret-none" });
    await fetch(`http://${server.address}/secret-path`);
    const response = await fetch(`http://${server.address}/metrics`);
    expect((await response.text()).toLowerCase()).not.toContain("secret");
  });

  test("are OpenMetrics for those who ask for it, with the same samples", async () => {
    server = await startTestServer();
    await server.calls.unary(append, one("s"));
    const accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    const open = await scrape(accept);
    expect([...open.keys()].toSorted()).toEqual([...(await scrape()).keys()].toSorted());
    const response = await fetch(`http://${server.address}/metrics`, { headers: { accept } });
    expect(response.headers.get("content-type")).toMatch(/^application\/openmetrics-text/);
    expect(await response.text()).toMatch(/\n# EOF\n$/);
  });
});
