// Another event store that is measured beside Annals.

import type { Foreign } from "../measure.ts";

export interface Peer {
  /** With its version. */
  readonly name: string;
  readonly server: Foreign;
  stop(): Promise<void>;
}

/** A load as both servers got it. */
export interface PeerRow {
  readonly workload: string;
  readonly title: string;
  readonly peer: string;
  /** Of the rates below. */
  readonly unit: string;
  readonly annals: Measured;
  readonly other: Measured;
  /** Rate of Annals over that of the peer. */
  readonly ratio: number;
  /** CPU of the peer for each event or call over that of Annals. */
  readonly cpuRatio: number | null;
  readonly run: {
    readonly command: string;
    readonly commit: string;
    readonly date: string;
    readonly node: string;
    readonly machine: string;
    readonly loadBefore: number;
    readonly rounds: number;
    readonly events: number;
  };
}

/** Medians over the rounds. */
interface Measured {
  readonly rate: number;
  /** Microseconds of the server's CPU for each. */
  readonly micros: number | null;
  readonly p50: number;
  readonly p99: number;
  /** The most that no file backs. */
  readonly anonymousMB: number | null;
}
