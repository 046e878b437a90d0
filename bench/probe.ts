// What a workload measures, as data: where, with which load, and which figure of it counts.

import type { Part } from "./load/job.ts";
import type { Memory } from "./load/proc.ts";

/**
 * An empty store, or one preloaded with so many events (load/events.ts). `truncated`: most events
 * of every second stream were removed, and their space is being given back.
 */
export type Store =
  | "empty"
  | { readonly events: number; readonly written?: boolean; readonly truncated?: boolean };

export type Probe =
  /** A load on the product. `settleMs`: so long it runs unmeasured on a server just started. */
  | {
      readonly at: "product";
      readonly store: Store;
      readonly parts: readonly Part[];
      readonly settleMs?: number;
    }
  /**
   * The same load on a grpc-js server that answers with as many bytes. `like` names the probe of
   * the product whose answers are imitated; `messageBytes`: in messages of this size instead.
   */
  | {
      readonly at: "noop";
      readonly parts: readonly Part[];
      readonly like: string;
      readonly messageBytes?: number;
    }
  /** Raw writes of chunks through classic-level, `events` a synced batch. */
  | { readonly at: "level"; readonly events: number }
  /** Append and fdatasync of so many bytes. */
  | { readonly at: "sync"; readonly bytes: number }
  /** From the start of the process until it serves. */
  | { readonly at: "start"; readonly events: number; readonly after: "stop" | "kill" }
  /** A process that loads grpc-js and listens, and has no store. */
  | { readonly at: "bare-start" }
  /** Memory of a server nobody talks to. */
  | { readonly at: "idle"; readonly store: Store }
  /** Bytes of a store's folder after a clean stop. */
  | { readonly at: "disk"; readonly events: number };

export type Figure =
  | "events/s"
  | "calls/s"
  | "p50"
  | "p99"
  | "seconds"
  | "MB"
  | "bytes per payload byte";

/** A figure of a probe; of a load, of one of its parts or (absent) of all together. */
export interface Pick {
  readonly probe: string;
  readonly part?: number;
  readonly of: Figure;
}

/** What must hold: of the ratio to the limit, or of the value itself. */
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
  /** Their sum. Absent: nothing to compare with but the target. */
  readonly limit?: readonly Pick[];
  /** What the limit is, for people. */
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

/** What one measurement of a probe found. */
export interface Sample {
  readonly parts: readonly PartSample[];
  readonly seconds?: number;
  readonly megabytes?: number;
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
