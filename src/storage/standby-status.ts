// What is known of a standby that events are read from.

/** A copy of the database that events are read from. */
export interface StandbyStatus {
  readonly host: string;
  /** False: it is away, or not what it should be, and the primary is read instead. */
  readonly isUsed: boolean;
  /** Up to where its log was found to be the primary's. */
  readonly position: number;
  /** Pages of events that it answered, since this server began. */
  readonly pages: number;
  /** How often it failed, since this server began. */
  readonly failures: number;
}
