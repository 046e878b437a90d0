// The first minute with Annals: starts a server on its own folder, appends, follows live, causes a
// conflict, retries, is refused by a condition, saves a snapshot, restarts, and finds everything
// again. On a terminal the server keeps running until Ctrl-C; with --exit, or without a terminal,
// it ends.

import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defaultPort } from "../src/client/rpc/address.ts";
import { CallError } from "../src/client/rpc/call-error.ts";
import { clientOf } from "../src/client/rpc/service-client.ts";
import { Connection } from "../src/client/rpc/connection.ts";
import { connect } from "../src/client/sdk.ts";
import { StreamState } from "../src/gen/annals/v1/append_pb.js";
import type { RecordedEvent } from "../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../src/gen/annals/v1/event_store_service_pb.js";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const startTimeoutMs = 30_000;
const stays = process.stdout.isTTY && !process.argv.includes("--exit");
const coloured = process.stdout.isTTY && !process.env["NO_COLOR"];
const paint = (code: number, text: string) => (coloured ? `\u001B[${code}m${text}\u001B[0m` : text);

const title = (text: string) => console.log(`\n${paint(1, text)}`);
const say = (what: string, text: string) => console.log(`  ${what.padEnd(9)}${text}`);
const live = (text: string) => console.log(`  ${paint(32, "live     ")}${text}`);

// ---- the server, in its own process -----------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), "annals-demo-"));
const port = await freePort(defaultPort);
const connection = new Connection({ address: `127.0.0.1:${port}` });
const store = clientOf(EventStoreService, connection);
let server: ChildProcess | undefined;

/** The port, or another free one if it is in use. */
async function freePort(wanted: number): Promise<number> {
  const probe = createServer();
  const bound = await new Promise<boolean>((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(wanted, "127.0.0.1", () => resolve(true));
  });
  if (!bound) return freePort(0);
  const { port: free } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return free;
}

async function startServer(): Promise<void> {
  const started = performance.now();
  const flags = ["serve", "--data", folder, "--port", String(port), "--log-level", "warn"];
  server = spawn(process.execPath, [main, ...flags], {
    stdio: ["ignore", "ignore", "inherit"],
    // Ctrl-C reaches this process only, which then stops the server in order.
    detached: true,
  });
  const died = once(server, "exit").then(() => {
    throw new Error("the server did not start");
  });
  died.catch(() => {});
  const client = connect({ address: connection.address });
  await Promise.race([client.ready(startTimeoutMs), died]).finally(() => client.close());
  const { head } = await store.getInfo({});
  const ms = Math.round(performance.now() - started);
  say("serve", `127.0.0.1:${port}, head ${head}, answering after ${ms} ms`);
}

async function stopServer(): Promise<void> {
  const stopping = server;
  server = undefined;
  if (stopping === undefined || stopping.exitCode !== null) return;
  stopping.kill("SIGTERM");
  const [code] = (await once(stopping, "exit")) as [number | null];
  say("stop", `the server ended with exit code ${code}`);
}

// ---- a subscription ---------------------------------------------------------------------------

let seen = 0n;
let arrived = () => {};

function textOf({ position, stream, version, type, data }: RecordedEvent): string {
  const payload = Buffer.from(data).toString();
  return `position ${position}  ${`${stream}@${version}`.padEnd(9)} ${type.padEnd(15)} ${payload}`;
}

/**
 * Prints every event from the first on as it arrives. After a restart it continues after the last
 * one.
 */
async function follow(): Promise<void> {
  try {
    const start = { case: "afterPosition", value: seen } as const;
    for await (const { message } of store.subscribe({ start })) {
      if (message.case !== "batch") continue;
      for (const event of message.value.events) {
        live(textOf(event));
        seen = event.position;
      }
      arrived();
    }
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
  }
}

async function seenUpTo(position: bigint): Promise<void> {
  if (seen >= position) return;
  await new Promise<void>((resolve) => {
    arrived = resolve;
  });
  await seenUpTo(position);
}

// ---- appends ----------------------------------------------------------------------------------

interface Given {
  readonly id?: string;
  readonly tags?: string[];
}

function eventOf(type: string, json: object, { id = "", tags = [] }: Given = {}) {
  const data = Buffer.from(JSON.stringify(json));
  const payload = { case: "data", value: data } as const;
  return { id, type, tags, contentType: "application/json", payload };
}

async function append(stream: string, version: number, ...events: ReturnType<typeof eventOf>[]) {
  const expected = { case: "expectedVersion", value: BigInt(version) } as const;
  say(
    "append",
    `${events.map(({ type }) => type).join(" + ")} to ${stream}, at version ${version}`,
  );
  const answer = await store.append({ stream, events, expected });
  await seenUpTo(answer.lastPosition);
  return answer;
}

async function refused(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof CallError && error.failure.reason === "APPEND_CONFLICT") {
      const { streams, conditions } = error.failure.conflict;
      for (const { stream, actualVersion } of streams) {
        say("refused", `${error.status}: ${stream} is at version ${actualVersion} by now`);
      }
      for (const { position } of conditions) {
        say("refused", `${error.status}: the event at position ${position} matches`);
      }
      return;
    }
    throw error;
  }
  throw new Error("this append should have been refused");
}

// ---- the tour ---------------------------------------------------------------------------------

async function tour(): Promise<void> {
  title("A server, and a subscription to everything");
  await startServer();
  void follow();

  title("Append, and see it arrive");
  await append("user-1", 0, eventOf("UserRegistered", { name: "Ann", plan: "free" }));
  await append("user-1", 1, eventOf("PlanChanged", { plan: "pro" }));
  await append("order-7", 0, eventOf("OrderPlaced", { total: 40 }), eventOf("OrderPaid", {}));

  title("Two writers, one version: one of them is told");
  await refused(() => append("user-1", 1, eventOf("PlanChanged", { plan: "free" })));

  title("The same append again, as after a lost answer: stored once");
  const id = "5ca1ab1e-0000-4000-8000-000000000001";
  const renamed = eventOf("UserRenamed", { name: "Anna" }, { id });
  const first = await append("user-1", 2, renamed);
  const again = await append("user-1", 2, renamed);
  say("answer", `position ${first.lastPosition}, then ${again.lastPosition} (deduplicated)`);

  title("A rule over all streams: an e-mail address is taken once");
  const tags = ["email:ann@example.com"];
  const claim = (stream: string) => {
    say("append", `EmailClaimed to ${stream}, if no event has the tag ${tags[0]}`);
    const events = [eventOf("EmailClaimed", {}, { tags })];
    const conditions = [{ query: { items: [{ tags }] } }];
    const expected = { case: "expectedState", value: StreamState.ANY } as const;
    return store.append({ stream, events, conditions, expected });
  };
  await seenUpTo((await claim("user-1")).lastPosition);
  await refused(() => claim("user-2"));

  await snapshotAndRestart();
}

async function snapshotAndRestart(): Promise<void> {
  title("A snapshot, and one call to rebuild from it");
  const { state, version } = await store.getState({ stream: "user-1", at: atVersion(3n) });
  if (state === undefined) throw new Error("there is no state");
  const json = { case: "json", value: state } as const;
  await store.saveSnapshot({ stream: "user-1", version, state: json });
  say("snapshot", `user-1 at version ${version}`);
  for await (const { message } of store.load({ stream: "user-1" })) {
    if (message.case === "snapshot") {
      const { version: of, state: found } = message.value;
      const text = found.case === "data" ? Buffer.from(found.value).toString() : "";
      say("load", `the snapshot of version ${of}: ${text}`);
    }
    if (message.case === "batch") {
      for (const event of message.value.events) say("load", textOf(event));
    }
    if (message.case === "end") say("load", `append on at version ${message.value.version}`);
  }

  title("Restart, and find everything again");
  const before = await fingerprint();
  await stopServer();
  await startServer();
  void follow();
  const after = await fingerprint();
  say("compare", `${after.count} events, sha256 ${after.hash.slice(0, 16)}…`);
  if (after.hash !== before.hash) throw new Error("not the same events as before");
  await append("order-7", 2, eventOf("OrderShipped", { parcel: "P-1" }));
}

function atVersion(value: bigint) {
  return { case: "version", value } as const;
}

/** A hash over every byte of every event, in order. */
async function fingerprint(): Promise<{ count: number; hash: string }> {
  const hash = createHash("sha256");
  let count = 0;
  for await (const { message } of store.read({})) {
    if (message.case !== "batch") continue;
    for (const event of message.value.events) {
      hash.update(textOf(event)).update(event.id);
      count += 1;
    }
  }
  return { count, hash: hash.digest("hex") };
}

function nextSteps(): void {
  title(stays ? "The server goes on until Ctrl-C. In another terminal:" : "Try it yourself:");
  const call = (data: string, method: string, at: number) => {
    const service = "annals.v1.EventStoreService";
    console.log(`  grpcurl -plaintext -d '${data}' 127.0.0.1:${at} ${service}/${method}`);
  };
  if (stays) call('{"stream":"user-1","view":"VIEW_JSON"}', "Read", port);
  else {
    console.log("  npm start");
    call('{"stream":"a-1","events":[{"type":"Tried","json":{}}]}', "Append", defaultPort);
  }
}

async function leave(code: number): Promise<never> {
  connection.close();
  await stopServer();
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

process.once("SIGINT", () => void leave(0));
process.once("SIGTERM", () => void leave(0));
process.once("SIGHUP", () => void leave(0));
try {
  await tour();
  nextSteps();
  if (!stays) await leave(0);
} catch (error) {
  console.error(error);
  await leave(1);
}
