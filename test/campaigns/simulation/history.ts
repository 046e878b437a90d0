// What happened in a run, as those who saw it would tell: the one thing the checker looks at beside
// the log that is there in the end.
import type { Append, Outcome } from "../../../src/domain/append.ts";
import type { Selection } from "../../../src/domain/query.ts";

export interface AppendCall {
  readonly append: Append;
  /** The last durable position when it was called, and when it was answered. */
  readonly headAtCall: number;
  headAtAnswer: number;
  /** `unknown`: an error that leaves it open, or no answer at all. */
  answer: { kind: "outcome"; outcome: Outcome } | { kind: "refused" } | { kind: "unknown" };
}

export interface ReadCall {
  readonly selection: Selection;
  readonly direction: "forwards" | "backwards";
  /** The last position that was acknowledged to anybody before the call. */
  readonly acknowledgedAtCall: number;
  /** As the answer's end says. */
  head: number;
  readonly records: Uint8Array[];
  /** Whether the end came. Without it the records are only a beginning. */
  ended: boolean;
}

export interface SubscriptionCall {
  readonly selection: Selection;
  readonly after: number;
  /** In the order they came. */
  readonly heard: (
    | { readonly kind: "record"; readonly record: Uint8Array; readonly durable: number }
    | { readonly kind: "position"; readonly position: number; readonly durable: number }
  )[];
}

export interface SnapshotCall {
  readonly stream: string;
  readonly version: number;
  readonly data: string;
  acknowledged: boolean;
}

export interface CheckpointCall {
  readonly consumer: string;
  readonly position: number;
  acknowledged: boolean;
}

export class History {
  readonly appends: AppendCall[] = [];
  readonly reads: ReadCall[] = [];
  readonly subscriptions: SubscriptionCall[] = [];
  readonly snapshots: SnapshotCall[] = [];
  readonly checkpoints: CheckpointCall[] = [];
  /** What was wrong there and then. */
  readonly violations: string[] = [];
  /** The last position that was acknowledged to anybody. */
  acknowledged = 0;
  /** How often a call ended with CORRUPTION. */
  corruptions = 0;
}
