// An event as a read gets it: its record, and what has to be known of it at once. What else is
// asked of it is read from its record then.

import type { PlacedEvent } from "../../../domain/event.ts";
import { scanRecord, scanRecordedAt } from "../../../domain/record.ts";
import type { RowReader } from "../sessions/row-reader.ts";
import { assertCrc, type EventRow } from "./rows.ts";

/** The columns that `logEventIn` reads, of a table `e`. */
export const logColumns = "e.position, e.crc, e.type ^@ '$', e.removed_in IS NOT NULL, e.record";

export class LogEvent implements EventRow {
  readonly position: number;
  readonly record: Uint8Array;
  /** Whether its type is one of the store's own. */
  readonly isOfSystem: boolean;
  readonly isEmptied: boolean;
  private scanned: PlacedEvent | undefined;

  constructor(fields: Pick<LogEvent, "position" | "record" | "isOfSystem" | "isEmptied">) {
    this.position = fields.position;
    this.record = fields.record;
    this.isOfSystem = fields.isOfSystem;
    this.isEmptied = fields.isEmptied;
  }

  get id(): string {
    return this.header.id;
  }

  get stream(): string {
    return this.header.stream;
  }

  get type(): string {
    return this.header.type;
  }

  get tags(): readonly string[] {
    return this.header.tags;
  }

  get version(): number {
    return this.header.version;
  }

  get recordedAt(): number {
    return scanRecordedAt(this.record);
  }

  private get header(): PlacedEvent {
    return (this.scanned ??= scanRecord(this.record));
  }
}

/** Undefined: the columns are NULL. Throws CORRUPTION if the record fails its CRC. */
export function logEventIn(row: RowReader): LogEvent | undefined {
  const position = row.number();
  const crc = row.number();
  const isOfSystem = row.boolean();
  const isEmptied = row.boolean();
  const record = row.view();
  if (record === undefined) return undefined;
  assertCrc(position, record, crc);
  return new LogEvent({ position, record, isOfSystem, isEmptied });
}
