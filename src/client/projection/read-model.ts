// What a projection writes to. The one promise everything rests on: what the handlers wrote, and
// how far the projection has got, become durable in one transaction or not at all.

/** How far a projection has got. */
export interface ProjectionCheckpoint {
  /** Every event of the projection up to here is in the read model. */
  readonly position: number;
  /** Whose positions these are. */
  readonly storeId: string;
  /** Of the projection that wrote the read model. */
  readonly version: number;
}

/** An event the projection was not able to take, for people to look at. */
export interface ParkedEvent {
  readonly position: number;
  readonly id: string;
  readonly stream: string;
  readonly type: string;
  /** `skipped`: at once, as was asked for; `parked`: after every retry failed. */
  readonly outcome: "skipped" | "parked";
  readonly attempts: number;
  /** What the handler, or the codec, failed with. */
  readonly error: string;
  readonly parkedAt: Date;
}

/** One transaction of a projection. */
export interface ProjectionStep<Tx> {
  /** What must be stored now; undefined: nothing may be. */
  readonly expected: ProjectionCheckpoint | undefined;
  readonly next: ProjectionCheckpoint;
  readonly apply: (tx: Tx) => void | Promise<void>;
  readonly park?: ParkedEvent | undefined;
  /** The position of an event that is parked no longer. */
  readonly unpark?: number | undefined;
  /** The projection begins anew: forget everything parked. */
  readonly unparkAll?: boolean | undefined;
}

/**
 * Implemented by the adapters: in memory, SQLite, PostgreSQL. Several projections may share one.
 */
export interface ReadModel<Tx> {
  /** Undefined: the projection has not begun. */
  checkpoint(projection: string): Promise<ProjectionCheckpoint | undefined>;
  /**
   * False, and nothing changed: the checkpoint is not `expected` any more; somebody else runs the
   * same projection. Throws what `apply` threw, or what kept the transaction from committing, and
   * nothing changed either; only where the connection broke at the commit is that not known, and
   * then the checkpoint tells.
   */
  commit(projection: string, step: ProjectionStep<Tx>): Promise<boolean>;
  /** By position. */
  parked(projection: string): Promise<readonly ParkedEvent[]>;
  /** Whether the same transaction may succeed in a moment: it says nothing against an event. */
  isTransient(error: unknown): boolean;
}

export function sameCheckpoint(
  one: ProjectionCheckpoint | undefined,
  other: ProjectionCheckpoint | undefined,
): boolean {
  return (
    one?.position === other?.position &&
    one?.storeId === other?.storeId &&
    one?.version === other?.version
  );
}
