// The scripted conversation by a command-line client: a process for every call.

import { start, type CommandLine, type Ended, type Failure, type Running } from "./command-line.ts";
import type { Facts } from "./conversation.ts";
import { startLiveServer, type LiveServer } from "./live-server.ts";

interface Talk {
  readonly tool: CommandLine;
  readonly server: LiveServer;
}

/** What each step found, in order, with a server of its own. */
export async function converseByCommands(tool: CommandLine): Promise<Map<string, Facts>> {
  const server = await startLiveServer();
  try {
    const found = new Map<string, Facts>();
    for (const [step, run] of Object.entries(steps)) {
      if (step === "deadline" && !tool.hasDeadlines) continue;
      found.set(step, await run({ tool, server }));
    }
    return found;
  } finally {
    await server.stop();
  }
}

const steps: Record<string, (talk: Talk) => Promise<Facts>> = {
  append: appendFirst,
  conflict,
  retry: appendFirst,
  id_conflict: idConflict,
  two_streams: twoStreams,
  pipe,
  read_forwards: readForwards,
  read_backwards: readBackwards,
  query,
  snapshot,
  load,
  subscribe,
  deadline,
  large,
  restart,
};

/** Messages are JSON as protobuf has it: 64-bit numbers are strings, zeros are left out. */
interface Json {
  readonly [name: string]: Json & Json[] & string;
}

function begin(
  { tool, server }: Talk,
  method: string,
  request: unknown,
  seconds?: number,
): Running {
  return start(tool, server.address, method, [request], seconds);
}

async function call(talk: Talk, method: string, request: unknown): Promise<Json[]> {
  const { messages, failure } = await begin(talk, method, request).ended();
  if (failure !== undefined) throw new Error(`${method}: code ${failure.code}`);
  return messages as Json[];
}

async function unary(talk: Talk, method: string, request: unknown): Promise<Json> {
  const [answer] = await call(talk, method, request);
  if (answer === undefined) throw new Error(`${method}: no answer`);
  return answer;
}

async function refused(talk: Talk, method: string, request: unknown): Promise<Facts> {
  return described(await begin(talk, method, request).ended());
}

function described({ failure }: Ended): Facts {
  if (failure === undefined) throw new Error("expected an error");
  return { code: failure.code, ...detailsOf(failure.details) };
}

function detailsOf(details: Failure["details"]): Facts {
  const info = details.get("ErrorInfo");
  const refusal = details.get("AppendConflict") as Json | undefined;
  const ids = details.get("EventIdConflict") as Json | undefined;
  const streams = refusal?.["streams"]?.map((s) => [s["stream"], number(s["actualVersion"])]);
  return {
    domain: info?.["domain"],
    reason: info?.["reason"],
    ...(streams && { actual_versions: Object.fromEntries(streams) as Facts }),
    ...(refusal?.["conditions"]?.[0] && {
      condition_position: number(refusal["conditions"][0]["position"]),
    }),
    ...(ids && {
      id_positions: ids["events"]?.map((one) => number(one["position"])),
      problem: ids["events"]?.[0]?.["problem"],
    }),
  };
}

function number(text: string | undefined): number {
  return Number(text ?? 0);
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function event(id: number, type: string, more: object = {}): object {
  return { id: `00000000-0000-4000-8000-${String(id).padStart(12, "0")}`, type, ...more };
}

const tags = ["customer:c1"];
const contentType = "application/json";
const firstRequest = {
  stream: "order-1",
  expectedVersion: "0",
  events: [
    event(1, "OrderPlaced", {
      tags,
      metadata: { user: "ada" },
      contentType,
      data: base64('{"total":10}'),
    }),
    event(2, "OrderPaid", { tags, contentType, data: base64('{"paid":true}') }),
  ],
};
const placedByFirstCustomer = { types: ["OrderPlaced"], tags };

function appended(answer: Json): Facts {
  const versions = answer["streams"]?.map((s) => [
    s["stream"],
    [number(s["firstVersion"]), number(s["lastVersion"])],
  ]);
  return {
    positions: [number(answer["firstPosition"]), number(answer["lastPosition"])],
    versions: Object.fromEntries(versions ?? []) as Facts,
    deduplicated: Boolean(answer["deduplicated"]),
  };
}

function eventsOf(messages: readonly Json[]): Json[] {
  return messages.flatMap((message) => message["batch"]?.["events"] ?? []);
}

const positions = (events: Json[]) => events.map((one) => number(one["position"]));
const versions = (events: Json[]) => events.map((one) => number(one["version"]));

async function appendFirst(talk: Talk): Promise<Facts> {
  return appended(await unary(talk, "Append", firstRequest));
}

function conflict(talk: Talk): Promise<Facts> {
  return refused(talk, "Append", {
    stream: "order-1",
    expectedVersion: "0",
    events: [event(3, "OrderPlaced")],
    expectations: [{ stream: "order-9", expectedState: "STREAM_STATE_EXISTS" }],
    conditions: [{ query: { items: [placedByFirstCustomer] } }],
  });
}

function idConflict(talk: Talk): Promise<Facts> {
  const events = [event(1, "OrderPlaced", { tags, data: base64("something else") })];
  return refused(talk, "Append", { stream: "order-1", events });
}

async function twoStreams(talk: Talk): Promise<Facts> {
  const answer = await unary(talk, "Append", {
    stream: "order-2",
    expectedState: "STREAM_STATE_ABSENT",
    events: [
      event(4, "OrderPlaced", { tags: ["customer:c2"] }),
      event(5, "OrderShipped", { stream: "order-1", tags }),
    ],
    expectations: [{ stream: "order-1", expectedVersion: "2" }],
  });
  return appended(answer);
}

async function pipe({ tool, server }: Talk): Promise<Facts> {
  const appends = [
    { id: 6, expectedVersion: "0" },
    { id: 7, expectedVersion: "0" },
    { id: 8, expectedVersion: "1" },
  ];
  const requests = appends.map(({ id, expectedVersion }) => ({
    append: { stream: "pipe-1", expectedVersion, events: [event(id, "Piped")] },
  }));
  const { messages } = await start(tool, server.address, "AppendPipe", requests).ended();
  const outcomes = (messages as Json[]).map((answer) => {
    const sequence = number(answer["sequence"]);
    const failure = answer["failure"];
    if (failure === undefined) {
      return { sequence, position: number(answer["appended"]?.["lastPosition"]) };
    }
    const details = failure["details"]?.map((detail): [string, Facts] => {
      return [detail["@type"]?.split(".").at(-1) ?? "", detail];
    });
    return { sequence, code: Number(failure["code"]), ...detailsOf(new Map(details)) };
  });
  return { outcomes };
}

async function read(talk: Talk, request: object): Promise<{ events: Json[]; end: Json }> {
  const messages = await call(talk, "Read", request);
  const end = messages.at(-1)?.["end"];
  if (end === undefined) throw new Error("a read without its end");
  return { events: eventsOf(messages), end };
}

async function readForwards(talk: Talk): Promise<Facts> {
  const { events, end } = await read(talk, { stream: "order-1" });
  const [first] = events;
  return {
    versions: versions(events),
    types: events.map((one) => one["type"]),
    id: first?.["id"],
    data: Buffer.from(first?.["data"] ?? "", "base64").toString(),
    user: first?.["metadata"]?.["user"],
    content_type: first?.["contentType"],
    tags: first?.["tags"],
    recorded: String(first?.["recordedAt"]) > "2001",
    end: ["head", "after", "eventCount", "streamVersion"].map((name) => number(end[name])),
  };
}

async function readBackwards(talk: Talk): Promise<Facts> {
  const { events, end } = await read(talk, { direction: "DIRECTION_BACKWARDS", limit: "3" });
  return { positions: positions(events), head: number(end["head"]) };
}

async function query(talk: Talk): Promise<Facts> {
  const items = [placedByFirstCustomer, { streams: ["order-2"] }];
  const { events, end } = await read(talk, { query: { items } });
  return { positions: positions(events), after: number(end["after"]) };
}

async function snapshot(talk: Talk): Promise<Facts> {
  const save = { stream: "order-1", contentType, data: base64('{"status":"paid"}') };
  const saved = await unary(talk, "SaveSnapshot", { ...save, version: "2" });
  const { snapshot: got } = await unary(talk, "GetSnapshot", { stream: "order-1" });
  return {
    position: number(saved["position"]),
    version: number(got?.["version"]),
    data: Buffer.from(got?.["data"] ?? "", "base64").toString(),
    beyond: await refused(talk, "SaveSnapshot", { ...save, version: "99" }),
    missing: await refused(talk, "GetSnapshot", { stream: "order-2" }),
  };
}

async function load(talk: Talk): Promise<Facts> {
  const messages = await call(talk, "Load", { stream: "order-1" });
  const end = messages.at(-1)?.["end"];
  return {
    snapshot_version: number(messages[0]?.["snapshot"]?.["version"]),
    versions: versions(eventsOf(messages)),
    version: number(end?.["version"]),
    head: number(end?.["head"]),
  };
}

async function untilCaughtUp(running: Running): Promise<{ events: Json[]; position: number }> {
  const messages: Json[] = [];
  for (;;) {
    const message = (await running.next()) as Json;
    messages.push(message);
    const caughtUp = message["caughtUp"];
    if (caughtUp) return { events: eventsOf(messages), position: number(caughtUp["position"]) };
  }
}

async function nextEvents(running: Running): Promise<Json[]> {
  for (;;) {
    const events = eventsOf([(await running.next()) as Json]);
    if (events.length > 0) return events;
  }
}

async function subscribers(talk: Talk): Promise<number> {
  const { stream } = await unary(talk, "GetStream", { stream: "order-1" });
  return Number(stream?.["subscriberCount"] ?? 0);
}

async function subscribe(talk: Talk): Promise<Facts> {
  const following = begin(talk, "Subscribe", { stream: "order-1" });
  const history = await untilCaughtUp(following);
  const events = [event(9, "OrderClosed")];
  await unary(talk, "Append", { stream: "order-1", expectedVersion: "3", events });
  const live = await nextEvents(following);
  const before = await subscribers(talk);
  following.interrupt();
  let after = before;
  while (after !== 0) after = await subscribers(talk);
  return {
    history: versions(history.events),
    caught_up: history.position,
    live: positions(live),
    subscribers: [before, after],
  };
}

async function deadline(talk: Talk): Promise<Facts> {
  const following = begin(talk, "Subscribe", { stream: "empty-1" }, 2);
  const { position } = await untilCaughtUp(following);
  const { failure } = await following.ended();
  return { caught_up: position, code: failure?.code };
}

async function large(talk: Talk): Promise<Facts> {
  const bytes = Buffer.alloc(
    2 * 1024 * 1024,
    Uint8Array.from({ length: 251 }, (_, n) => n),
  );
  const data = bytes.toString("base64");
  const answer = await unary(talk, "Append", {
    stream: "large-1",
    events: [event(10, "Scanned", { data })],
  });
  const { events } = await read(talk, { stream: "large-1" });
  const back = Buffer.from(events[0]?.["data"] ?? "", "base64");
  return {
    position: number(answer["lastPosition"]),
    bytes: back.length,
    equal: back.equals(bytes),
  };
}

async function restart(talk: Talk): Promise<Facts> {
  const following = begin(talk, "Subscribe", { afterPosition: "7" });
  const { events: seen, position } = await untilCaughtUp(following);
  const [ended] = await Promise.all([following.ended(), talk.server.restart()]);
  const retried = await appendFirst(talk);
  const reopen = (id: number): Promise<Json> =>
    unary(talk, "Append", { stream: "order-2", events: [event(id, "OrderReopened")] });
  await reopen(11);
  const resumed = begin(talk, "Subscribe", { afterPosition: String(position) });
  const { events } = await untilCaughtUp(resumed);
  await reopen(12);
  const live = await nextEvents(resumed);
  resumed.interrupt();
  return {
    seen: positions(seen),
    ended: described(ended),
    retried,
    resumed: positions([...events, ...live]),
  };
}
