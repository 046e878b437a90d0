// The building blocks of workloads: calls, parts of a load, probes, figures, targets.

import type { CallsPart, CallSpec, ConsumePart, FollowPart, Part, PipePart } from "../load/job.ts";
import type { Form, Pick, Probe, RowSpec, Target, Workload } from "../probe.ts";

export const KiB = 1024;
export const MiB = 1024 * KiB;
/** Streams over which unconditional appends are spread. */
export const streams = 10_000;
export const grpcDefaultWindowBytes = 65_535;
/** A unary call in place of a read that is answered in one message. */
export const unaryPath = "/annals.v1.EventStoreService/GetStream";

export const one = { verb: "append", events: 1, streams } as const satisfies CallSpec;
export const hundred: CallSpec = { verb: "append", events: 100, streams };
export const timedTen: CallSpec = { verb: "append", events: 10, streams, timed: true };

export const noopUnary = "grpc-js no-op, unary, the same sizes";
export const noopBidi = "grpc-js no-op, bidi, the same sizes";
export const noopStream = "grpc-js streaming the same bytes";
export const rawChunks = "classic-level, raw chunks, 1,000 events a synced batch";

export function unary(
  call: CallSpec,
  concurrency: number,
  more: Partial<CallsPart> = {},
): CallsPart {
  const connections = Math.min(4, concurrency);
  return { kind: "calls", call, concurrency, connections, unary: true, ...more };
}

export function reads(
  call: CallSpec,
  concurrency: number,
  more: Partial<CallsPart> = {},
): CallsPart {
  return { ...unary(call, concurrency), unary: false, ...more };
}

export function pipe(call: CallSpec, window: number, more: Partial<PipePart> = {}): PipePart {
  return { kind: "pipe", call, window, connections: 1, ...more };
}

/** Each on its own connection, like processes of different services. */
export function followers(subscribers: number, more: Partial<FollowPart> = {}): FollowPart {
  const call: CallSpec = { verb: "subscribe-all" };
  return { kind: "follow", call, subscribers, connections: subscribers, ...more };
}

export function consumers(members: number, permits: number): ConsumePart {
  const connections = Math.min(4, members);
  const call: CallSpec = { verb: "consume" };
  return { kind: "consume", call, members, permits, connections, inFlightMax: 100_000 };
}

export function onEmpty(...parts: Part[]): Probe {
  return { at: "product", store: "empty", parts };
}

/** On a server that does not count calls, or that counts them and asks who calls. */
export function onEmptyWatched(watched: "bare" | "all", ...parts: Part[]): Probe {
  return { at: "product", store: "empty", parts, watched };
}

export function noop(parts: readonly Part[], messageBytes?: number): Probe {
  const sized = messageBytes === undefined ? {} : { messageBytes };
  return { at: "noop", parts, like: "product", ...sized };
}

export const product = (of: Pick["of"], part?: number): Pick => figure("product", of, part);
export const limit = (of: Pick["of"], part?: number): Pick => figure("limit", of, part);

export function figure(probe: string, of: Pick["of"], part?: number): Pick {
  return part === undefined ? { probe, of } : { probe, of, part };
}

export const ratioAtLeast = (atLeast: number): Target => ({ of: "ratio", atLeast });
export const ratioAtMost = (atMost: number): Target => ({ of: "ratio", atMost });

/** The most common shape: a load on the product, and the same load on a no-op server. */
export function besideNoop(
  row: Omit<RowSpec, "value" | "limit" | "unit">,
  form: Form,
  parts: { readonly product: Probe; readonly noop: readonly Part[] },
  of: "events/s" | "calls/s",
): Workload {
  return {
    name: row.workload,
    form,
    probes: { product: parts.product, limit: noop(parts.noop) },
    rows: [{ ...row, unit: of, value: product(of), limit: [limit(of)] }],
  };
}

export function count(events: number): string {
  return events.toLocaleString("en-US");
}

export function short(events: number): string {
  if (events >= 1_000_000) return `${events / 1_000_000}m`;
  return `${events / 1_000}k`;
}
