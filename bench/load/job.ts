// What a load process is asked to do, and what it answers: data that crosses a process boundary.

import type { Memory } from "./proc.ts";

export type Protocol = "annals" | "umadb" | "postgres";

/** A kind of call. Numbers of streams and tags are those of the preloaded store (events.ts). */
export type CallSpec =
  /** `streams` to choose from; `ids`: chosen by the client; `timed`: the payload says when. */
  | {
      readonly verb: "append";
      readonly events: number;
      readonly streams: number;
      readonly ids?: boolean;
      readonly timed?: boolean;
    }
  /** Each worker has a stream of its own and expects its version. */
  | { readonly verb: "append-expecting-version"; readonly group: number }
  /** No event of the tag and type after the head last seen; a worker takes tag after tag. */
  | { readonly verb: "append-on-condition"; readonly tags: number }
  /** The events of the preloaded store from number `from` on, `events` an append. */
  | {
      readonly verb: "preload";
      readonly events: number;
      readonly from: number;
      readonly total: number;
    }
  | { readonly verb: "read-all" }
  | { readonly verb: "read-stream"; readonly streams: number }
  | { readonly verb: "read-tag"; readonly tags: number }
  | { readonly verb: "read-type"; readonly type: string }
  | { readonly verb: "subscribe-all" }
  /** By a group of the load's own. */
  | { readonly verb: "consume" }
  /** Each subscriber to a stream of its own that never gets an event. */
  | { readonly verb: "subscribe-idle"; readonly group: number };

interface PartBase {
  readonly call: CallSpec;
  readonly connections: number;
  /** By our own HTTP/2 client (absent), or by grpc-js with the generated codec. */
  readonly client?: "light" | "grpc-js";
}

/** Calls of one request each; their answers' events are counted. */
export interface CallsPart extends PartBase {
  readonly kind: "calls";
  /** Calls under way at most. */
  readonly concurrency: number;
  /** Open loop: so many a second, latency from the moment each was due. Absent: closed loop. */
  readonly perSecond?: number;
  /** What the server may send ahead. Absent: 1 MiB. */
  readonly windowBytes?: number;
  /** Ends after so many calls. Absent: with the job. */
  readonly requests?: number;
  /** The answer is one message that is not counted in events. */
  readonly unary: boolean;
  /** Every complete answer must hold so many events. */
  readonly expectEvents?: number;
  /** Sent to this path instead: a no-op stands in for the call. */
  readonly path?: string;
}

/** One bidirectional call a connection: requests ahead of their answers. */
export interface PipePart extends PartBase {
  readonly kind: "pipe";
  /** Requests without an answer at most, over all connections. */
  readonly window: number;
  /** Where the protocol has no pipe: as many unary calls at a time. */
  readonly orUnary?: boolean;
  readonly perSecond?: number;
  /** Ends after so many requests. Absent: with the job. */
  readonly requests?: number;
}

/** Calls that never end; the events that arrive are counted and timed. */
export interface FollowPart extends PartBase {
  readonly kind: "follow";
  readonly subscribers: number;
  /** Done after so many events, over all subscribers. Absent: with the job. */
  readonly events?: number;
  readonly windowBytes?: number;
  /** Sent to this path instead. */
  readonly path?: string;
  /** A no-op says nothing about having caught up. */
  readonly withoutCaughtUp?: boolean;
}

/** Members of one consumer group over everything, from its end on. */
export interface ConsumePart extends PartBase {
  readonly kind: "consume";
  readonly members: number;
  /** Of each member. */
  readonly permits: number;
  /** Of the group. */
  readonly inFlightMax: number;
  /** Done after so many events, over all members. Absent: with the job. */
  readonly events?: number;
}

export type Part = CallsPart | PipePart | FollowPart | ConsumePart;

export interface LoadJob {
  readonly host: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly parts: readonly Part[];
  readonly warmUpMs: number;
  /** 0: until every part that is bounded is done. */
  readonly measureMs: number;
  /** Whose CPU time and memory are looked at. */
  readonly serverPid?: number;
}

export interface PartResult {
  readonly seconds: number;
  readonly calls: number;
  /** Appended or received. */
  readonly events: number;
  readonly messages: number;
  /** Bytes of gRPC messages received, prefixes included. */
  readonly receivedBytes: number;
  readonly failed: number;
  readonly firstFailure: string | undefined;
  /** Open loop: calls that were due and never made. */
  readonly late: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

export interface LoadResult {
  readonly parts: readonly PartResult[];
  /** Share of one core, while measuring. */
  readonly serverCpu: number | undefined;
  readonly loadCpu: number;
  /** When it had the most. */
  readonly serverPeak: Memory | undefined;
}
