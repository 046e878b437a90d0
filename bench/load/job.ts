// The requests and answers of a load process: data that crosses a process boundary.

import type { Memory } from "./proc.ts";

export type Protocol = "annals" | "kurrentdb" | "umadb" | "postgres";

/** A kind of call. The numbers of streams and tags are those of the preloaded store (events.ts). */
export type CallSpec =
  /**
   * `streams` to choose from; `ids`: the client chooses event ids; `timed`: the payload contains
   * the time; `plain`: without tags, and the metadata is one text.
   */
  | {
      readonly verb: "append";
      readonly events: number;
      readonly streams: number;
      readonly ids?: boolean;
      readonly timed?: boolean;
      readonly plain?: boolean;
    }
  /** Each worker has a stream of its own and expects its version. */
  | { readonly verb: "append-expecting-version"; readonly group: number }
  /**
   * No event with the tag and type after the last head seen. A worker uses one tag after another.
   * `pair`: no event with two tags.
   */
  | { readonly verb: "append-on-condition"; readonly tags: number; readonly pair?: boolean }
  /** The events of the preloaded store from number `from` on, `events` in an append. */
  | {
      readonly verb: "preload";
      readonly events: number;
      readonly from: number;
      readonly total: number;
    }
  | { readonly verb: "read-all" }
  /** The newest hundred events with their payloads as JSON: a page of the console. By HTTP only. */
  | { readonly verb: "read-page" }
  /** Each stream in turn; `zipf`: the first one most often, the second half as often, and so on. */
  | { readonly verb: "read-stream"; readonly streams: number; readonly zipf?: boolean }
  | { readonly verb: "read-tag"; readonly tags: number }
  | { readonly verb: "read-type"; readonly type: string }
  | { readonly verb: "subscribe-all" }
  /** By a group that the load creates. */
  | { readonly verb: "consume" }
  /** Each subscriber follows its own stream, which never gets an event. */
  | { readonly verb: "subscribe-idle"; readonly group: number };

interface PartBase {
  readonly call: CallSpec;
  readonly connections: number;
  /**
   * The client: the light HTTP/2 client (absent), the same with JSON (`http2`), grpc-js with the
   * generated codec, or HTTP/1.1 and JSON (Server-Sent Events) or gRPC-Web, with a connection for
   * each call at a time.
   */
  readonly client?: "light" | "grpc-js" | "http" | "http2" | "grpc-web";
}

/** Calls with one request each. The events of their answers are counted. */
export interface CallsPart extends PartBase {
  readonly kind: "calls";
  /** Open calls at a time. */
  readonly concurrency: number;
  /**
   * Open loop: calls per second, with latencies from the moment at which each was due. Absent:
   * closed loop.
   */
  readonly perSecond?: number;
  /** Bytes that the server may send ahead. Absent: 1 MiB. */
  readonly windowBytes?: number;
  /** Ends after this many calls. Absent: with the job. */
  readonly requests?: number;
  /** The answer is one message that is not counted in events. */
  readonly unary: boolean;
  /** The number of events that every complete answer must have. */
  readonly expectEvents?: number;
  /** Calls this path instead: a no-op in place of the call. */
  readonly path?: string;
}

/** One bidirectional call per connection, with requests sent ahead of their answers. */
export interface PipePart extends PartBase {
  readonly kind: "pipe";
  /** Unanswered requests over all connections. */
  readonly window: number;
  /** If the protocol has no pipe: as many unary calls at a time. */
  readonly orUnary?: boolean;
  readonly perSecond?: number;
  /** Ends after this many requests. Absent: with the job. */
  readonly requests?: number;
}

/** Calls without an end. The events that arrive are counted and timed. */
export interface FollowPart extends PartBase {
  readonly kind: "follow";
  readonly subscribers: number;
  /** Done after this many events over all subscribers. Absent: with the job. */
  readonly events?: number;
  readonly windowBytes?: number;
  /** Calls this path instead. */
  readonly path?: string;
  /** A no-op server does not report that the subscription has caught up. */
  readonly withoutCaughtUp?: boolean;
}

/** Members of one consumer group over all events, beginning at the end. */
export interface ConsumePart extends PartBase {
  readonly kind: "consume";
  readonly members: number;
  /** Permits of each member. */
  readonly permits: number;
  /** The group's limit of events in flight. */
  readonly inFlightMax: number;
  /** Done after this many events over all members. Absent: with the job. */
  readonly events?: number;
}

export type Part = CallsPart | PipePart | FollowPart | ConsumePart;

export interface LoadJob {
  readonly host: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly parts: readonly Part[];
  /** Unary calls show this. Absent: they show nothing. */
  readonly authorization?: string | undefined;
  readonly warmUpMs: number;
  /** 0: until every bounded part is done. */
  readonly measureMs: number;
  /** The process whose CPU time and memory are measured. */
  readonly serverPid?: number;
}

export interface PartResult {
  readonly seconds: number;
  readonly calls: number;
  /** Events appended or received. */
  readonly events: number;
  readonly messages: number;
  /** Bytes of gRPC messages received, with their prefixes. */
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
  /** Share of one core during the measurement. */
  readonly serverCpu: number | undefined;
  readonly loadCpu: number;
  /** At the highest memory use. */
  readonly serverPeak: Memory | undefined;
}
