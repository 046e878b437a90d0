// What a workload measures, as data: where, with which load, and which figure counts.

import type { Part } from "./load/job.ts";
import type { Memory } from "./load/proc.ts";

/**
 * An empty store, or one preloaded with this many events (load/events.ts). `truncated`: most events
 * of every second stream were removed, and their space is being reclaimed.
 */
export type Store =
  | "empty"
  | { readonly events: number; readonly written?: boolean; readonly truncated?: boolean };

export type Probe =
  /**
   * A load on the product. It runs for `settleMs` without measurement on a server that was just
   * started.
   */
  | {
      readonly at: "product";
      readonly store: Store;
      readonly parts: readonly Part[];
      readonly settleMs?: number;
      /**
       * Absent: as it is by default. `bare`: calls are not counted. `all`: they are counted, and
       * each shows a token.
       */
      readonly watched?: "bare" | "all";
      /** The server also speaks KurrentDB's protocol, and the load uses this one. */
      readonly through?: "annals" | "kurrentdb";
      /** Further flags of the server. */
      readonly flags?: readonly string[];
    }
  /**
   * The same load on a grpc-js server that answers with as many bytes. `like` names the probe of
   * the product whose answers are imitated; `messageBytes` sets another message size.
   */
  | {
      readonly at: "noop";
      readonly parts: readonly Part[];
      readonly like: string;
      readonly messageBytes?: number;
    }
  /** Chunks written through classic-level, `events` in a synced batch. */
  | { readonly at: "level"; readonly events: number }
  /** Appends this many bytes and calls fdatasync. */
  | { readonly at: "sync"; readonly bytes: number }
  /** A load on servers that share a PostgreSQL, divided among them. */
  | {
      readonly at: "servers";
      readonly servers: number;
      readonly store: Store;
      readonly parts: readonly Part[];
    }
  /** A program without a server on the same PostgreSQL: limits/bare-postgres.ts. */
  | {
      readonly at: "bare-database";
      readonly what: "batches" | "singles" | "copy" | "stream";
      readonly atATime: number;
      readonly store: Store;
    }
  /** The time from the start of the process until it serves. */
  | { readonly at: "start"; readonly events: number; readonly after: "stop" | "kill" }
  /** A process that loads grpc-js and listens, without a store. */
  | { readonly at: "bare-start" }
  /** The memory of a server without clients. */
  | { readonly at: "idle"; readonly store: Store }
  /** A load for three hundred measurements, and the memory of the server two minutes after. */
  | { readonly at: "soak"; readonly store: Store; readonly parts: readonly Part[] }
  /** Bytes of a store's folder after a clean stop. */
  | { readonly at: "disk"; readonly events: number };

export type Figure =
  | "us CPU/call"
  | "events/s"
  | "calls/s"
  | "p50"
  | "p99"
  /** Microseconds of the server's CPU time for each event. */
  | "us"
  | "seconds"
  | "MB"
  /** Memory that no file backs, two minutes after a load. */
  | "MB after"
  | "bytes per payload byte";

/** A figure of a probe. For a load: of one of its parts, or (absent) of all together. */
export interface Pick {
  readonly probe: string;
  readonly part?: number;
  readonly of: Figure;
  /**
   * Of "us": another probe, which has the other parts alone. What each of their events costs there
   * is not counted.
   */
  readonly without?: string;
}

/** The requirement on the ratio to the limit, or on the value. */
export interface Target {
  readonly of: "ratio" | "value";
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface RowSpec {
  readonly workload: string;
  readonly title: string;
  readonly unit: string;
  readonly value: Pick;
  /** The limit is the sum of these. Absent: the value is only compared with the target. */
  readonly limit?: readonly Pick[];
  /** What the limit is, in words. */
  readonly against?: string;
  readonly target?: Target;
}

/** `quick`: in every run; `full`: unless `--quick`; `long`: only with `--long`. */
export type Form = "quick" | "full" | "long";

export interface Workload {
  readonly name: string;
  readonly form: Form;
  readonly probes: Readonly<Record<string, Probe>>;
  readonly rows: readonly RowSpec[];
}

/** The result of one measurement of a probe. */
export interface Sample {
  readonly parts: readonly PartSample[];
  readonly seconds?: number;
  readonly megabytes?: number;
  readonly megabytesAfter?: number;
  readonly bytesPerPayloadByte?: number;
  readonly serverCpu?: number | undefined;
  readonly loadCpu?: number | undefined;
  readonly peak?: Memory | undefined;
}

export interface PartSample {
  readonly eventsPerSecond: number;
  readonly callsPerSecond: number;
  readonly bytesPerCall: number;
  readonly bytesPerMessage: number;
  readonly eventsPerMessage: number;
  readonly messagesPerCall: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}
