// The high-water mark records what was acknowledged, outside LevelDB, so that a log that lost its
// end is not taken for a shorter log. It is written in place after each write (a few microseconds,
// no sync: it survives a killed process), and synced every few seconds and on a clean stop (it
// survives a power cut). It is never ahead of the log, which was synced before.
//
// Two slots, 4,096 bytes apart, are written alternately, so that a torn write leaves the other one:
//
//    0  8  "ANNLMARK"    8  8  number of the mark    16  8  position of the last event
//   24  8  LevelDB's sequence number of the last write, of events or of anything else
//   32 32  hash of the chunk that ends at the position
//   64  4  CRC-32 of the 64 bytes before
//
// Behind them two more slots, at 8,192 and 12,288, hold the store's time, by which ages are
// measured, so that it does not go back where the clock is set back over a restart:
//
//    0  8  "ANNLTIME"    8  8  microseconds since 1970, UTC    16  4  CRC-32 of these
//
// Numbers are big-endian. Format version 1; files of the first builds end before the time.

import { closeSync, constants, fsync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import { invariant } from "../../../domain/errors.ts";
import { readUint32, readUint64, writeUint32, writeUint64 } from "../format/keys.ts";

/** A clock that is so far behind is worth a warning. */
const clockBehindSeconds = 5;
const magic = Buffer.from("ANNLMARK", "latin1");
const timeMagic = Buffer.from("ANNLTIME", "latin1");
const slotBytes = 68;
const timeSlotBytes = 20;
const slotStride = 4_096;
const syncEveryMs = 2_000;

/** What was acknowledged most recently. */
export interface Acknowledged {
  readonly position: number;
  readonly sequence: number;
  readonly hash: Uint8Array;
}

interface HighWaterMarkState extends Acknowledged {
  readonly number: number;
}

export class HighWaterMark {
  private readonly fd: number;
  private readonly warn: (message: string, cause?: unknown) => void;
  private number: number;
  private dirty = false;
  private failing = false;
  private readonly buffer = Buffer.alloc(slotBytes);
  private readonly timeBuffer = Buffer.alloc(timeSlotBytes);
  private timeSlot: number;
  private readonly timer: NodeJS.Timeout;

  constructor(fd: number, number: number, warn: (message: string, cause?: unknown) => void) {
    this.fd = fd;
    this.number = number;
    this.warn = warn;
    // The slot that holds the later time stays until the other one holds a later one still.
    this.timeSlot = readTimeSlot(fd, 0) > readTimeSlot(fd, 1) ? 1 : 0;
    this.timer = setInterval(() => this.syncSoon(), syncEveryMs).unref();
  }

  /**
   * Records that the store is durable up to here. If the mark cannot be written, it keeps its old
   * value: that is no reason to refuse appends that are durable already.
   */
  advance(acknowledged: Acknowledged): void {
    const number = this.number + 1;
    composeSlot(this.buffer, { ...acknowledged, number });
    if (this.write(this.buffer, (number % 2) * slotStride)) this.number = number;
  }

  /** The store's time, kept like the mark. */
  keepTime(time: number): void {
    composeTimeSlot(this.timeBuffer, time);
    if (this.write(this.timeBuffer, timeOffset(this.timeSlot))) this.timeSlot = 1 - this.timeSlot;
  }

  /** Makes the mark durable now. */
  sync(): void {
    if (!this.dirty) return;
    try {
      fsyncSync(this.fd);
      this.dirty = false;
    } catch (cause) {
      this.warn("the high-water mark cannot be synced", cause);
    }
  }

  /** Makes the mark durable and closes it. */
  close(): void {
    clearInterval(this.timer);
    this.sync();
    closeSync(this.fd);
  }

  private write(slot: Buffer, offset: number): boolean {
    try {
      writeSync(this.fd, slot, 0, slot.length, offset);
      this.dirty = true;
      this.failing = false;
      return true;
    } catch (cause) {
      if (!this.failing) this.warn("the high-water mark cannot be written", cause);
      this.failing = true;
      return false;
    }
  }

  private syncSoon(): void {
    if (!this.dirty) return;
    this.dirty = false;
    // No acknowledgement depends on this sync: after a failure the mark is only older.
    fsync(this.fd, () => {});
  }
}

/** Opens or creates the mark. The value is undefined if no slot is valid. */
export function openHighWaterMark(
  path: string,
  warn: (message: string, cause?: unknown) => void,
): [HighWaterMark, Acknowledged | undefined] {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  const newest = newestSlot(fd);
  return [new HighWaterMark(fd, newest?.number ?? 0, warn), newest];
}

/** Writes the first mark of a new store. Throws if it cannot be made durable. */
export function createHighWaterMark(path: string, acknowledged: Acknowledged, time = 0): void {
  const bytes = Buffer.alloc(timeOffset(0) + timeSlotBytes);
  composeSlot(bytes.subarray(slotStride), { ...acknowledged, number: 1 });
  composeTimeSlot(bytes.subarray(timeOffset(0)), time);
  const fd = openSync(path, "w", 0o600);
  try {
    const written = writeSync(fd, bytes);
    invariant(written === bytes.length, "a mark is written in one piece");
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Reads the mark without changing it. */
export function readHighWaterMark(path: string): Acknowledged | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    return newestSlot(fd);
  } finally {
    closeSync(fd);
  }
}

/** The store's time that was kept last; 0: none was. */
export function readStoreTime(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return 0;
  }
  try {
    return Math.max(readTimeSlot(fd, 0), readTimeSlot(fd, 1));
  } finally {
    closeSync(fd);
  }
}

/** As `readStoreTime`, with a warning if the clock (in microseconds) is far behind it. */
export function warnedStoreTime(
  path: string,
  clock: () => number,
  warn: (message: string) => void,
): number {
  const known = readStoreTime(path);
  const behindSeconds = Math.floor((known - clock()) / 1_000_000);
  if (behindSeconds >= clockBehindSeconds) {
    warn(
      `the clock is ${behindSeconds} s behind the store's time, by which ages are measured: ` +
        "until it catches up, no event grows older",
    );
  }
  return known;
}

function newestSlot(fd: number): HighWaterMarkState | undefined {
  const slots = [0, 1].map((slot) => readSlot(fd, slot)).filter((state) => state !== undefined);
  return slots.toSorted((a, b) => b.number - a.number)[0];
}

function composeSlot(slot: Buffer, state: HighWaterMarkState): void {
  magic.copy(slot);
  writeUint64(slot, 8, state.number);
  writeUint64(slot, 16, state.position);
  writeUint64(slot, 24, state.sequence);
  slot.set(state.hash, 32);
  writeUint32(slot, 64, crc32(slot.subarray(0, 64)));
}

function readSlot(fd: number, slot: number): HighWaterMarkState | undefined {
  const bytes = Buffer.alloc(slotBytes);
  if (readSync(fd, bytes, 0, slotBytes, slot * slotStride) !== slotBytes) return undefined;
  if (bytes.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (readUint32(bytes, 64) !== crc32(bytes.subarray(0, 64))) return undefined;
  return {
    number: readUint64(bytes, 8),
    position: readUint64(bytes, 16),
    sequence: readUint64(bytes, 24),
    hash: Buffer.from(bytes.subarray(32, 64)),
  };
}

function timeOffset(slot: number): number {
  return (2 + slot) * slotStride;
}

function composeTimeSlot(slot: Buffer, time: number): void {
  timeMagic.copy(slot);
  writeUint64(slot, 8, time);
  writeUint32(slot, 16, crc32(slot.subarray(0, 16)));
}

/** 0: the slot holds no time. */
function readTimeSlot(fd: number, slot: number): number {
  const bytes = Buffer.alloc(timeSlotBytes);
  if (readSync(fd, bytes, 0, timeSlotBytes, timeOffset(slot)) !== timeSlotBytes) return 0;
  if (bytes.compare(timeMagic, 0, 8, 0, 8) !== 0) return 0;
  return readUint32(bytes, 16) === crc32(bytes.subarray(0, 16)) ? readUint64(bytes, 8) : 0;
}
