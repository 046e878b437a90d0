// The high-water mark: the last acknowledged position, outside LevelDB, so that a log which lost
// its end cannot pass for a shorter one. Written in place after each commit (a few microseconds, no
// sync: it survives a killed process), synced every few seconds and on a clean stop (it survives a
// power cut). It is never ahead of the log, which was synced before.
//
// Two slots, 4,096 bytes apart, written in turn, so that a torn write leaves the other one:
//
//    0  8  "ANNLMARK"    8  8  sequence    16  8  position
//   24 32  hash of the chunk that ends there
//   56  4  CRC-32 of the 56 bytes before
//
// Numbers are big-endian. Format version 1.

import { closeSync, fsync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import { readUint32, readUint64, writeUint32, writeUint64 } from "./keys.ts";

const magic = Buffer.from("ANNLMARK", "latin1");
const slotBytes = 60;
const slotStride = 4_096;
const syncEveryMs = 2_000;

export interface MarkState {
  readonly sequence: number;
  readonly position: number;
  readonly hash: Uint8Array;
}

export class Mark {
  private readonly fd: number;
  private sequence: number;
  private dirty = false;
  private readonly buffer = Buffer.alloc(slotBytes);
  private readonly timer: NodeJS.Timeout;

  constructor(fd: number, sequence: number) {
    this.fd = fd;
    this.sequence = sequence;
    this.timer = setInterval(() => this.syncSoon(), syncEveryMs).unref();
  }

  /** The log is durable up to here. */
  advance(position: number, hash: Uint8Array): void {
    this.sequence++;
    composeSlot(this.buffer, { sequence: this.sequence, position, hash });
    writeSync(this.fd, this.buffer, 0, slotBytes, (this.sequence % 2) * slotStride);
    this.dirty = true;
  }

  /** Makes the mark durable and ends its upkeep. */
  close(): void {
    clearInterval(this.timer);
    if (this.dirty) fsyncSync(this.fd);
    closeSync(this.fd);
  }

  private syncSoon(): void {
    if (!this.dirty) return;
    this.dirty = false;
    // Of no use to an acknowledgement: a failure only leaves the mark where it was.
    fsync(this.fd, () => {});
  }
}

/** Opens or creates the mark; the state is undefined where no slot is sound. */
export function openMark(path: string, create: boolean): [Mark, MarkState | undefined] {
  const fd = openSync(path, create ? "w+" : "r+", 0o600);
  const slots = [0, 1].map((slot) => readSlot(fd, slot)).filter((state) => state !== undefined);
  const newest = slots.toSorted((a, b) => b.sequence - a.sequence)[0];
  return [new Mark(fd, newest?.sequence ?? 0), newest];
}

function composeSlot(slot: Buffer, state: MarkState): void {
  magic.copy(slot);
  writeUint64(slot, 8, state.sequence);
  writeUint64(slot, 16, state.position);
  slot.set(state.hash, 24);
  writeUint32(slot, 56, crc32(slot.subarray(0, 56)));
}

function readSlot(fd: number, slot: number): MarkState | undefined {
  const bytes = Buffer.alloc(slotBytes);
  if (readSync(fd, bytes, 0, slotBytes, slot * slotStride) !== slotBytes) return undefined;
  if (bytes.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (readUint32(bytes, 56) !== crc32(bytes.subarray(0, 56))) return undefined;
  return {
    sequence: readUint64(bytes, 8),
    position: readUint64(bytes, 16),
    hash: Buffer.from(bytes.subarray(24, 56)),
  };
}
