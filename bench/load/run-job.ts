// Runs one job: all parts at once, a warm-up, a measured window, then everything is cut off.

import { setTimeout as sleep } from "node:timers/promises";
import { annalsCalls } from "./annals-calls.ts";
import { runCalls } from "./calls-part.ts";
import { runFollow } from "./follow-part.ts";
import { runGrpcJs } from "./grpc-js-part.ts";
import type { LoadJob, LoadResult, Part } from "./job.ts";
import { Meter } from "./meter.ts";
import type { PartContext, RunningPart } from "./part.ts";
import { runPipe } from "./pipe-part.ts";
import { cpuSeconds, rssBytes } from "./proc.ts";
import { umadbCalls } from "./umadb-calls.ts";

const readyMsMax = 60_000;
const boundedMsMax = 600_000;
const rssEveryMs = 100;

export async function runJob(job: LoadJob): Promise<LoadResult> {
  const calls = job.protocol === "annals" ? annalsCalls : umadbCalls;
  const meters = job.parts.map(() => new Meter());
  const running: RunningPart[] = [];
  const watch = watchServer(job.serverPid);
  try {
    // In order: followers are there before anything is appended.
    for (const [i, part] of job.parts.entries()) {
      const started = await run(part, { job, calls, meter: meters[i] as Meter });
      running.push(started);
      await within(readyMsMax, started.ready, `${part.call.verb} was not ready`);
    }
    await sleep(job.warmUpMs);
    for (const meter of meters) meter.restart();
    const usage = process.cpuUsage();
    const serverBefore = watch.cpuSeconds();
    const since = performance.now();
    if (job.measureMs > 0) await sleep(job.measureMs);
    else {
      const done = Promise.race(running.map((part) => part.done));
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
      serverRssPeakBytes: watch.rssPeakBytes(),
    };
  } finally {
    for (const part of running) part.stop();
    watch.stop();
  }
}

async function run(part: Part, context: PartContext): Promise<RunningPart> {
  if (part.client === "grpc-js") return runGrpcJs(part, context);
  switch (part.kind) {
    case "calls":
      return runCalls(part, context);
    case "pipe":
      return runPipe(part, context);
    case "follow":
      return runFollow(part, context);
  }
}

function watchServer(pid: number | undefined) {
  let peak = pid === undefined ? undefined : rssBytes(pid);
  const timer = setInterval(() => {
    const now = pid === undefined ? undefined : rssBytes(pid);
    if (now !== undefined && now > (peak ?? 0)) peak = now;
  }, rssEveryMs);
  return {
    cpuSeconds: () => (pid === undefined ? undefined : cpuSeconds(pid)),
    rssPeakBytes: () => peak,
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
