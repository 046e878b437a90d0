// The same loads by grpc-js and the generated codec: what a TypeScript user gets, for comparison
// with the light client.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { clientOf } from "../../src/client/rpc/service-client.ts";
import { Connection } from "../../src/client/rpc/connection.ts";
import { AppendRequestSchema } from "../../src/gen/annals/v1/append_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { contentType, payload, streamOf } from "./events.ts";
import type { CallsPart, Part, PipePart } from "./job.ts";
import { type PartContext, type RunningPart } from "./part.ts";

type AppendInit = MessageInitShape<typeof AppendRequestSchema>;

export function runGrpcJs(part: Part, context: PartContext): RunningPart {
  const { job, meter } = context;
  const connections = Array.from(
    { length: part.connections },
    () =>
      new Connection({
        address: `${job.host}:${job.port}`,
        ...("windowBytes" in part ? { windowBytes: part.windowBytes } : {}),
      }),
  );
  if (part.kind === "follow" || part.kind === "consume") {
    throw new Error("grpc-js does not follow here: the light client does");
  }
  const stopping = new AbortController();
  const run: Run = { context, stopping: stopping.signal, left: part.requests ?? Infinity };
  const running =
    part.kind === "pipe"
      ? connections.map((connection) => pipe(run, part, connection))
      : Array.from({ length: part.concurrency }, (_, i) =>
          worker(run, part, connections[i % connections.length] as Connection),
        );
  const done = settled(running).catch((error: unknown) => {
    if (!stopping.signal.aborted) meter.fail((error as Error).message);
  });
  return {
    ready: Promise.resolve(),
    done: part.requests === undefined ? undefined : done,
    stop() {
      stopping.abort(new Error("the load ended"));
      for (const connection of connections) connection.close();
    },
  };
}

async function settled(running: readonly Promise<void>[]): Promise<void> {
  await Promise.all(running);
}

/** Whether there is another call to make. */
function more(run: Run): boolean {
  return !run.stopping.aborted && run.left-- > 0;
}

interface Run {
  readonly context: PartContext;
  readonly stopping: AbortSignal;
  /** Calls or requests still to make. */
  left: number;
}

function appendOf(part: Part, n: number): AppendInit {
  if (part.call.verb !== "append") throw new Error(`grpc-js does not do ${part.call.verb} here`);
  const { streams, events } = part.call;
  return {
    stream: `account-${streamOf(n, streams * 10)}`,
    events: Array.from({ length: events }, (_, i) => ({
      type: `Posted-${n % 10}`,
      tags: [`card-${(n + i) % streams}`],
      metadata: { user: "clerk-7", correlation: "0123456789abcdef" },
      contentType,
      payload: { case: "data" as const, value: payloads[(n + i) % payloads.length] as Buffer },
    })),
  };
}

const payloads = Array.from({ length: 256 }, (_, seed) => payload(seed));

async function worker(run: Run, part: CallsPart, connection: Connection): Promise<void> {
  const { meter } = run.context;
  const client = clientOf(EventStoreService, connection);
  const reading = part.call.verb === "read-all";
  for (let n = 0; more(run); n++) {
    const since = performance.now();
    if (reading) {
      for await (const { message } of client.read({}, { signal: run.stopping })) {
        meter.events += message.case === "batch" ? message.value.events.length : 0;
        meter.messages++;
      }
    } else {
      const request = appendOf(part, n);
      await client.append(request);
      meter.events += request.events?.length ?? 0;
    }
    meter.latency.record(performance.now() - since);
    meter.calls++;
  }
}

async function pipe(run: Run, part: PipePart, connection: Connection): Promise<void> {
  const { meter } = run.context;
  const client = clientOf(EventStoreService, connection);
  const window = Math.max(1, Math.floor(part.window / part.connections));
  const sentAt: number[] = [];
  let wake: (() => void) | undefined;
  async function* requests() {
    for (let n = 0; more(run); n++) {
      while (sentAt.length >= window) {
        await new Promise<void>((resolve) => (wake = resolve));
      }
      sentAt.push(performance.now());
      yield { append: create(AppendRequestSchema, appendOf(part, n)) };
    }
  }
  const events = part.call.verb === "append" ? part.call.events : 0;
  for await (const { outcome } of client.appendPipe(requests(), { signal: run.stopping })) {
    if (outcome.case !== "appended") meter.fail(outcome.value?.message ?? "no outcome");
    meter.latency.record(performance.now() - (sentAt.shift() ?? 0));
    meter.calls++;
    meter.messages++;
    meter.events += events;
    wake?.();
  }
}
