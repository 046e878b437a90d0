// What a projection writes to. Its one requirement: the handlers' writes and the checkpoint become
// durable in one transaction or not at all.

/** How far a projection has got. */
export interface ProjectionCheckpoint {
  /** Every event of the projection up to this position is in the read model. */
  readonly position: number;
  /** The store of the position. */
  readonly storeId: string;
  /** The epoch of the position. Absent: not known, as in read models of earlier versions. */
  readonly epoch?: string | undefined;
  /** The version of the projection that wrote the read model. */
  readonly version: number;
}

/** An event that the projection could not handle, for people to look at. */
export interface ParkedEvent {
  readonly position: number;
  readonly id: string;
  readonly stream: string;
  readonly type: string;
  /** `skipped`: at once, as configured; `parked`: after every retry failed. */
  readonly outcome: "skipped" | "parked";
  readonly attempts: number;
  /** The error of the handler or of the codec. */
  readonly error: string;
  readonly parkedAt: Date;
}

/** One transaction of a projection. */
export interface ProjectionStep<Tx> {
  /** The checkpoint that must be stored now. Undefined: none may be. */
  readonly expected: ProjectionCheckpoint | undefined;
  readonly next: ProjectionCheckpoint;
  readonly apply: (tx: Tx) => void | Promise<void>;
  readonly park?: ParkedEvent | undefined;
  /** The position of an event that is no longer parked. */
  readonly unpark?: number | undefined;
  /** The projection begins again: all parked events are dropped. */
  readonly unparkAll?: boolean | undefined;
}

/**
 * Implemented by the adapters for memory, SQLite and PostgreSQL. Several projections may share one.
 */
export interface ReadModel<Tx> {
  /** Undefined: the projection has not begun. */
  checkpoint(projection: string): Promise<ProjectionCheckpoint | undefined>;
  /**
   * False, with nothing changed: the stored checkpoint is not `expected`, because another runner
   * has the same projection. Throws the error of `apply`, or the one that prevented the commit,
   * also with nothing changed. Only if the connection broke at the commit is that unknown; the
   * checkpoint then tells.
   */
  commit(projection: string, step: ProjectionStep<Tx>): Promise<boolean>;
  /** By position. */
  parked(projection: string): Promise<readonly ParkedEvent[]>;
  /** Whether the same transaction may succeed later, so that no event is to blame. */
  isTransient(error: unknown): boolean;
}

export function sameCheckpoint(
  one: ProjectionCheckpoint | undefined,
  other: ProjectionCheckpoint | undefined,
): boolean {
  return (
    one?.position === other?.position &&
    one?.storeId === other?.storeId &&
    one?.epoch === other?.epoch &&
    one?.version === other?.version
  );
}
