// Runs one job: starts all parts, warms up, measures, then cuts everything off.

import { setTimeout as sleep } from "node:timers/promises";
import { WireReader } from "../../src/domain/wire.ts";
import { annalsCalls } from "./annals-calls.ts";
import type { Calls } from "./call.ts";
import { runCalls } from "./calls-part.ts";
import { runConsume } from "./consume-part.ts";
import { runFollow } from "./follow-part.ts";
import { runGrpcJs } from "./grpc-js-part.ts";
import { runHttp } from "./http-part.ts";
import { Http2Connection } from "./http2-connection.ts";
import type { CallSpec, LoadJob, LoadResult, Part, Protocol } from "./job.ts";
import { kurrentdbCalls } from "./kurrentdb-calls.ts";
import { framed, MessageReader } from "./messages.ts";
import { Meter } from "./meter.ts";
import type { PartContext, RunningPart } from "./part.ts";
import { runPipe } from "./pipe-part.ts";
import { runPostgres } from "./postgres-part.ts";
import { cpuSeconds, memoryOf, type Memory } from "./proc.ts";
import { umadbCalls } from "./umadb-calls.ts";

const readyMsMax = 60_000;
const boundedMsMax = 3_600_000;
const rssEveryMs = 100;
const headWindowBytes = 65_535;

const callsOf: Readonly<Record<Protocol, Calls>> = {
  annals: annalsCalls,
  kurrentdb: kurrentdbCalls,
  umadb: umadbCalls,
  postgres: annalsCalls,
};

export async function runJob(job: LoadJob): Promise<LoadResult> {
  const calls = callsOf[job.protocol];
  const meters = job.parts.map(() => new Meter());
  const running: RunningPart[] = [];
  const watch = watchServer(job.serverPid);
  const head = job.parts.some(({ call }) => needsHead(job, call)) ? await headOf(job, calls) : 0;
  try {
    // In order, so that subscribers exist before anything is appended.
    for (const [i, part] of job.parts.entries()) {
      const started = await run(part, { job, calls, meter: meters[i] as Meter, head });
      running.push(started);
      await within(readyMsMax, started.ready, `${part.call.verb} was not ready`);
    }
    if (job.measureMs > 0) {
      await sleep(job.warmUpMs);
      for (const meter of meters) meter.restart();
    }
    const usage = process.cpuUsage();
    const serverBefore = watch.cpuSeconds();
    const since = performance.now();
    if (job.measureMs > 0) await sleep(job.measureMs);
    else {
      const done = Promise.all(running.flatMap((part) => part.done ?? []));
      await within(boundedMsMax, done, "the load did not end");
    }
    const parts = meters.map((meter) => meter.result());
    const seconds = (performance.now() - since) / 1_000;
    const { user, system } = process.cpuUsage(usage);
    const serverAfter = watch.cpuSeconds();
    return {
      parts,
      loadCpu: (user + system) / 1e6 / seconds,
      serverCpu:
        serverBefore === undefined || serverAfter === undefined
          ? undefined
          : (serverAfter - serverBefore) / seconds,
      serverPeak: watch.peak(),
    };
  } finally {
    for (const part of running) part.stop();
    watch.stop();
  }
}

async function run(part: Part, context: PartContext): Promise<RunningPart> {
  if (context.job.protocol === "postgres") return runPostgres(part, context);
  if (part.client === "http" || part.client === "grpc-web") return runHttp(part, context);
  if (part.client === "grpc-js") return runGrpcJs(part, context);
  switch (part.kind) {
    case "calls":
      return runCalls(part, context);
    case "pipe":
      return runPipe(part, context);
    case "follow":
      return runFollow(part, context);
    case "consume":
      return runConsume(part, context);
  }
}

/**
 * A condition concerns events after the head. UmaDB needs the head for the start of a subscription.
 */
function needsHead({ protocol }: LoadJob, { verb }: CallSpec): boolean {
  if (protocol === "postgres") return false;
  return verb === "append-on-condition" || (protocol === "umadb" && verb.startsWith("subscribe"));
}

async function headOf({ host, port }: LoadJob, calls: Calls): Promise<number> {
  const connection = await Http2Connection.open(host, port, headWindowBytes);
  try {
    return await new Promise<number>((resolve, reject) => {
      let head = 0;
      const reader = new MessageReader((message) => {
        const fields = new WireReader(message);
        while (!fields.done) {
          const tag = fields.varint();
          if (tag === calls.head.field << 3) head = fields.varint();
          else fields.passOver(tag & 7);
        }
      });
      connection.call(calls.head.path, framed(Buffer.alloc(0)), true, {
        received: (bytes, start, end) => reader.received(bytes, start, end),
        ended: (status, message) =>
          status === 0 ? resolve(head) : reject(new Error(`no head: ${message}`)),
      });
      connection.flush();
    });
  } finally {
    connection.close();
  }
}

function watchServer(pid: number | undefined) {
  let peak: Memory | undefined;
  const look = () => {
    const now = pid === undefined ? undefined : memoryOf(pid);
    if (now === undefined) return;
    // Each for itself: they are not highest at the same moment.
    peak = {
      rssBytes: Math.max(now.rssBytes, peak?.rssBytes ?? 0),
      anonymousBytes: Math.max(now.anonymousBytes, peak?.anonymousBytes ?? 0),
    };
  };
  look();
  const timer = setInterval(look, rssEveryMs);
  return {
    cpuSeconds: () => (pid === undefined ? undefined : cpuSeconds(pid)),
    peak: () => peak,
    stop: () => clearInterval(timer),
  };
}

async function within<T>(ms: number, promise: Promise<T>, message: string): Promise<T> {
  const timeout = new AbortController();
  const late = sleep(ms, undefined, { signal: timeout.signal }).then(() => {
    throw new Error(`${message} within ${ms / 1_000} s`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    timeout.abort();
  }
}
