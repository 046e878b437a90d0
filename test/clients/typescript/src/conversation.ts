// The scripted conversation of test/clients/conversation.ts, by a generated TypeScript client.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { credentials, Metadata } from "@grpc/grpc-js";
import type { CallOptions, ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import { describe, failed, type Facts } from "./failure.js";
import {
  AppendRequest,
  AppendPipeRequest,
  StreamState,
  type AppendResponse,
} from "./gen/annals/v1/append.js";
import { NewEvent, type RecordedEvent } from "./gen/annals/v1/event.js";
import { EventStoreServiceClient } from "./gen/annals/v1/event_store_service.js";
import { Query } from "./gen/annals/v1/query.js";
import {
  Direction,
  ReadRequest,
  SubscribeRequest,
  type ReadEnd,
  type SubscribeResponse,
} from "./gen/annals/v1/read.js";
import { GetSnapshotRequest, LoadRequest, SaveSnapshotRequest } from "./gen/annals/v1/snapshot.js";

const client = new EventStoreServiceClient(
  process.env["ANNALS_ADDRESS"] ?? "127.0.0.1:7420",
  credentials.createInsecure(),
  {
    // Reads are several times faster with a window larger than the default 64 KiB.
    "grpc-node.flow_control_window": 4 * 1024 * 1024,
    // The retry advice that ships with the contract.
    "grpc.service_config": readFileSync("proto/annals/v1/annals_grpc_service_config.json", "utf8"),
  },
);

type Unary<Request, Answer> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, answer: Answer) => void,
) => unknown;

/** One unary call that ends within a bounded time. */
function call<Request, Answer>(method: Unary<Request, Answer>, request: Request): Promise<Answer> {
  return new Promise((resolve, reject) => {
    method.call(client, request, new Metadata(), { deadline: within(60) }, (error, answer) => {
      if (error === null) resolve(answer);
      else reject(error);
    });
  });
}

function within(seconds: number): Date {
  return new Date(Date.now() + seconds * 1_000);
}

function event(number: number, type: string, more: Partial<NewEvent> = {}): NewEvent {
  const id = `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
  return NewEvent.fromPartial({ id, type, ...more });
}

function bytes(text: string): NewEvent["payload"] {
  return { $case: "data", value: Buffer.from(text) };
}

function version(expected: number): AppendRequest["expected"] {
  return { $case: "expectedVersion", value: expected };
}

const firstCustomer = { tags: ["customer:c1"] };
const placedByFirstCustomer = { types: ["OrderPlaced"], ...firstCustomer };
const contentType = "application/json";

const firstRequest = AppendRequest.fromPartial({
  stream: "order-1",
  expected: version(0),
  events: [
    event(1, "OrderPlaced", {
      ...firstCustomer,
      metadata: { user: "ada" },
      contentType,
      payload: bytes('{"total":10}'),
    }),
    event(2, "OrderPaid", { ...firstCustomer, contentType, payload: bytes('{"paid":true}') }),
  ],
});

function appended(answer: AppendResponse): Facts {
  const versions = answer.streams.map((s) => [s.stream, [s.firstVersion, s.lastVersion]]);
  return {
    positions: [answer.firstPosition, answer.lastPosition],
    versions: Object.fromEntries(versions),
    deduplicated: answer.deduplicated,
  };
}

const append = (request: AppendRequest) => call(client.append, request);
const refused = (request: AppendRequest) => failed(append(request));
const positions = (events: RecordedEvent[]) => events.map((event) => event.position);
const versions = (events: RecordedEvent[]) => events.map((event) => event.version);

async function appendFirst(): Promise<Facts> {
  return appended(await append(firstRequest));
}

function conflict(): Promise<Facts> {
  return refused(
    AppendRequest.fromPartial({
      stream: "order-1",
      expected: version(0),
      events: [event(3, "OrderPlaced")],
      expectations: [
        {
          stream: "order-9",
          expected: { $case: "expectedState", value: StreamState.STREAM_STATE_EXISTS },
        },
      ],
      conditions: [{ query: { items: [placedByFirstCustomer] } }],
    }),
  );
}

function idConflict(): Promise<Facts> {
  const other = event(1, "OrderPlaced", { ...firstCustomer, payload: bytes("something else") });
  return refused(AppendRequest.fromPartial({ stream: "order-1", events: [other] }));
}

async function twoStreams(): Promise<Facts> {
  const request = AppendRequest.fromPartial({
    stream: "order-2",
    expected: { $case: "expectedState", value: StreamState.STREAM_STATE_ABSENT },
    events: [
      event(4, "OrderPlaced", { tags: ["customer:c2"] }),
      event(5, "OrderShipped", { stream: "order-1", ...firstCustomer }),
    ],
    expectations: [{ stream: "order-1", expected: { $case: "expectedVersion", value: 2 } }],
  });
  return appended(await append(request));
}

async function pipe(): Promise<Facts> {
  const appends = client.appendPipe(new Metadata(), { deadline: within(60) });
  const script: [number, number][] = [
    [6, 0],
    [7, 0],
    [8, 1],
  ];
  for (const [number, expected] of script) {
    const events = [event(number, "Piped")];
    appends.write(
      AppendPipeRequest.fromPartial({
        append: { stream: "pipe-1", expected: version(expected), events },
      }),
    );
  }
  appends.end();
  const outcomes: Facts[] = [];
  for await (const { sequence, outcome } of appends) {
    const found: Facts = { sequence };
    if (outcome?.$case === "appended") found["position"] = outcome.value.lastPosition;
    if (outcome?.$case === "failure") {
      found["code"] = outcome.value.code;
      for (const detail of outcome.value.details) describe(found, detail);
    }
    outcomes.push(found);
  }
  return { outcomes };
}

/** Reads to the end; a call that ends without a `ReadEnd` was cut off. */
async function read(request: ReadRequest): Promise<{ events: RecordedEvent[]; end: ReadEnd }> {
  const events: RecordedEvent[] = [];
  let end: ReadEnd | undefined;
  for await (const { message } of client.read(request, new Metadata(), { deadline: within(60) })) {
    if (message?.$case === "batch") events.push(...message.value.events);
    if (message?.$case === "end") end = message.value;
  }
  if (end === undefined) throw new Error("a read without its end");
  return { events, end };
}

async function readForwards(): Promise<Facts> {
  const request = ReadRequest.fromPartial({ selection: { $case: "stream", value: "order-1" } });
  const { events, end } = await read(request);
  const [first] = events;
  return {
    versions: versions(events),
    types: events.map((event) => event.type),
    id: first?.id,
    data: first?.data.toString(),
    user: first?.metadata["user"],
    content_type: first?.contentType,
    tags: first?.tags,
    recorded: (first?.recordedAt?.getFullYear() ?? 0) > 2000,
    end: [end.head, end.after, end.eventCount, end.streamVersion],
  };
}

async function readBackwards(): Promise<Facts> {
  const direction = Direction.DIRECTION_BACKWARDS;
  const { events, end } = await read(ReadRequest.fromPartial({ direction, limit: 3 }));
  return { positions: positions(events), head: end.head };
}

async function query(): Promise<Facts> {
  const wanted = Query.fromPartial({ items: [placedByFirstCustomer, { streams: ["order-2"] }] });
  const request = ReadRequest.fromPartial({ selection: { $case: "query", value: wanted } });
  const { events, end } = await read(request);
  return { positions: positions(events), after: end.after };
}

async function snapshot(): Promise<Facts> {
  const save = SaveSnapshotRequest.fromPartial({
    stream: "order-1",
    version: 2,
    contentType,
    state: { $case: "data", value: Buffer.from('{"status":"paid"}') },
  });
  const get = (stream: string) =>
    call(client.getSnapshot, GetSnapshotRequest.fromPartial({ stream }));
  const saved = await call(client.saveSnapshot, save);
  const { snapshot: got } = await get("order-1");
  return {
    position: saved.position,
    version: got?.version,
    data: got?.state?.$case === "data" ? got.state.value.toString() : undefined,
    beyond: await failed(call(client.saveSnapshot, { ...save, version: 99 })),
    missing: await failed(get("order-2")),
  };
}

async function load(): Promise<Facts> {
  const found: Facts = {};
  const events: RecordedEvent[] = [];
  const request = LoadRequest.fromPartial({ stream: "order-1" });
  for await (const { message } of client.load(request, new Metadata(), { deadline: within(60) })) {
    if (message?.$case === "snapshot") found["snapshot_version"] = message.value.version;
    if (message?.$case === "batch") events.push(...message.value.events);
    if (message?.$case === "end") {
      found["version"] = message.value.version;
      found["head"] = message.value.head;
    }
  }
  return { ...found, versions: versions(events) };
}

/** A subscription, read message by message. */
class Following {
  readonly call: ClientReadableStream<SubscribeResponse>;
  private readonly messages: AsyncIterator<SubscribeResponse>;

  constructor(request: SubscribeRequest, seconds = 60) {
    this.call = client.subscribe(request, new Metadata(), { deadline: within(seconds) });
    this.messages = this.call[Symbol.asyncIterator]();
  }

  async next(): Promise<NonNullable<SubscribeResponse["message"]>> {
    const { value, done } = await this.messages.next();
    if (done === true) throw new Error("a subscription ends only with an error");
    if (value.message === undefined) throw new Error("an empty message");
    return value.message;
  }

  async untilCaughtUp(): Promise<{ events: RecordedEvent[]; position: number }> {
    const events: RecordedEvent[] = [];
    for (;;) {
      const message = await this.next();
      if (message.$case === "batch") events.push(...message.value.events);
      if (message.$case === "caughtUp") return { events, position: message.value.position };
    }
  }

  async nextEvents(): Promise<RecordedEvent[]> {
    for (;;) {
      const message = await this.next();
      if (message.$case === "batch") return message.value.events;
    }
  }

  /** Reads on until the subscription ends, and says how. */
  end(): Promise<Facts> {
    const rest = async () => {
      for (;;) await this.next();
    };
    return failed(rest());
  }
}

function ofStream(stream: string): SubscribeRequest {
  return SubscribeRequest.fromPartial({ selection: { $case: "stream", value: stream } });
}

function afterPosition(position: number): SubscribeRequest {
  return SubscribeRequest.fromPartial({ start: { $case: "afterPosition", value: position } });
}

async function subscribers(): Promise<number | undefined> {
  return (await call(client.getStream, { stream: "order-1" })).stream?.subscriberCount;
}

async function subscribe(): Promise<Facts> {
  const following = new Following(ofStream("order-1"));
  const history = await following.untilCaughtUp();
  await append(
    AppendRequest.fromPartial({
      stream: "order-1",
      expected: version(3),
      events: [event(9, "OrderClosed")],
    }),
  );
  const live = await following.nextEvents();
  const before = await subscribers();
  following.call.cancel();
  const ended = await following.end();
  let after = before;
  while (after !== 0) after = await subscribers();
  return {
    history: versions(history.events),
    caught_up: history.position,
    live: positions(live),
    code: ended["code"],
    subscribers: [before, after],
  };
}

async function deadline(): Promise<Facts> {
  const following = new Following(ofStream("empty-1"), 2);
  const { position } = await following.untilCaughtUp();
  return { caught_up: position, code: (await following.end())["code"] };
}

async function large(): Promise<Facts> {
  const data = Buffer.alloc(2 * 1024 * 1024).map((_, index) => index % 251) as Buffer;
  const big = event(10, "Scanned", { payload: { $case: "data", value: data } });
  const answer = await append(AppendRequest.fromPartial({ stream: "large-1", events: [big] }));
  const { events } = await read(
    ReadRequest.fromPartial({ selection: { $case: "stream", value: "large-1" } }),
  );
  const back = events[0]?.data;
  return { position: answer.lastPosition, bytes: back?.length, equal: back?.equals(data) };
}

async function restart(): Promise<Facts> {
  const following = new Following(afterPosition(7));
  const { events: seen, position } = await following.untilCaughtUp();
  const lines = createInterface({ input: process.stdin });
  const told = lines.question("");
  console.log("RESTART");
  const ended = await following.end();
  await told;
  lines.close();
  // The channel reconnects by itself; what is called before it has is retried.
  const retried = await append(firstRequest);
  await reopen(11);
  const resumed = new Following(afterPosition(position));
  const { events } = await resumed.untilCaughtUp();
  await reopen(12);
  const live = await resumed.nextEvents();
  resumed.call.cancel();
  await resumed.end();
  return {
    seen: positions(seen),
    ended,
    retried: appended(retried),
    resumed: positions([...events, ...live]),
  };
}

function reopen(number: number): Promise<AppendResponse> {
  const events = [event(number, "OrderReopened")];
  return append(AppendRequest.fromPartial({ stream: "order-2", events }));
}

const steps: Record<string, () => Promise<Facts>> = {
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
for (const [step, run] of Object.entries(steps)) {
  console.log(JSON.stringify({ step, ok: true, ...(await run()) }));
}
client.close();
