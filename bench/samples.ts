// What a load has measured, as samples of a probe.

import type { NoopShape } from "./limits/noop-server.ts";
import type { LoadResult, Part, PartResult } from "./load/job.ts";
import type { PartSample, Sample } from "./probe.ts";

/** A load had refused, failed or short answers, so its figures do not count. */
export class LoadFailed extends Error {
  override readonly name = "LoadFailed";
}

export function withoutExpectation(part: Part): Part {
  if (part.kind !== "calls" || part.expectEvents === undefined) return part;
  const { expectEvents: _, ...rest } = part;
  return rest;
}

/**
 * The answer sizes that were measured. If there are several parts: unary answers first, then
 * streams.
 */
export function shapeLike({ parts }: Sample, messageBytes: number | undefined): NoopShape {
  const [first, second] = parts;
  if (!first) throw new Error("no part to imitate");
  const eventBytes = Math.round(first.bytesPerMessage / Math.max(1, first.eventsPerMessage));
  const messageEvents =
    messageBytes === undefined ? first.eventsPerMessage : messageBytes / eventBytes;
  return {
    answerBytes: Math.round(first.bytesPerCall),
    readBytes: Math.round((second ?? first).bytesPerCall),
    messageEvents: Math.max(1, Math.round(messageEvents)),
    eventBytes,
    messagesPerCall: Math.max(1, Math.round(first.messagesPerCall)),
  };
}

interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

export function partOf(callsPerSecond: number, { p50, p99, p999 }: Latency, eventsPerSecond = 0) {
  return {
    callsPerSecond,
    eventsPerSecond,
    bytesPerCall: 0,
    bytesPerMessage: 0,
    eventsPerMessage: 0,
    messagesPerCall: 0,
    p50,
    p99,
    p999,
  };
}

/** Throws LoadFailed. */
export function sampleOf({ parts, serverCpu, loadCpu, serverPeak }: LoadResult): Sample {
  for (const { failed, firstFailure = "" } of parts) {
    if (failed > 0) throw new LoadFailed(`${failed} calls failed, the first: ${firstFailure}`);
  }
  return { parts: parts.map(partSample), serverCpu, loadCpu, peak: serverPeak };
}

function partSample(part: PartResult): PartSample {
  const calls = Math.max(1, part.calls);
  const messages = Math.max(1, part.messages);
  return {
    callsPerSecond: part.calls / part.seconds,
    eventsPerSecond: part.events / part.seconds,
    bytesPerCall: part.receivedBytes / calls,
    bytesPerMessage: part.receivedBytes / messages,
    eventsPerMessage: part.events / messages,
    messagesPerCall: part.messages / calls,
    p50: part.p50,
    p99: part.p99,
    p999: part.p999,
  };
}
