// A file of a backup: unmodified entries of a store, with checksums around them.
//
//   8  "ANNLBKUP"    4  format version: 1    16  store id
//   entries:  4  length of the key, at least 1    4  length of the value
//             -  key    -  value    4  CRC-32 of these four
//   end:      4  0    8  count of entries    4  CRC-32 of these two
//
// Numbers are big-endian. The backup's list (backup-list.ts) has the SHA-256 of each whole file.

import { createHash, type Hash } from "node:crypto";
import { open, realpath, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { dirname, resolve, sep } from "node:path";
import { crc32 } from "node:zlib";
import { syncFolder } from "../folder/durable-file.ts";
import { readUint32, readUint64, writeUint32, writeUint64 } from "../format/keys.ts";
import type { Entry } from "../kv/kv.ts";

const magic = "ANNLBKUP";
const formatVersion = 1;
const headerBytes = 28;
const frameBytes = 8;
const endBytes = 12;
const bufferBytes = 1024 * 1024;
const entryBytesMax = 64 * 1024 * 1024;

/** The faults of a backup, in words for an operator. */
export class BackupRefused extends Error {
  override readonly name = "BackupRefused";
}

/**
 * What is read is not written: a store or backup is not made inside the folder that it is made of,
 * whatever symbolic links lead there. Throws BackupRefused.
 */
export async function refuseInside(source: string, target: string): Promise<void> {
  const real = (path: string): Promise<string> => realpath(path).catch(() => "");
  const outer = await real(source);
  let path = resolve(target);
  let inner = await real(path);
  // The target, or the folder that it will be made in.
  while (inner === "") inner = await real((path = dirname(path)));
  if (outer === "" || !`${inner}${sep}`.startsWith(`${outer}${sep}`)) return;
  throw new BackupRefused(`${target} is in ${source}, which is only read: name another folder`);
}

export interface FileSeal {
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
  readonly entries: number;
}

/**
 * Writes a file of entries. The file appears under its name only when it is complete and durable.
 */
export class BackupFileWriter {
  private readonly path: string;
  private readonly file: FileHandle;
  private readonly hash: Hash = createHash("sha256");
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private written = 0;
  private entries = 0;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.file = file;
  }

  static async create(path: string, storeId: string): Promise<BackupFileWriter> {
    const writer = new BackupFileWriter(path, await open(`${path}.new`, "w", 0o600));
    await writer.write(headerOf(storeId));
    return writer;
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.written + this.waitingBytes;
  }

  async add([key, value]: Entry): Promise<void> {
    const frame = Buffer.allocUnsafe(frameBytes);
    writeUint32(frame, 0, key.length);
    writeUint32(frame, 4, value.length);
    const crc = Buffer.allocUnsafe(4);
    writeUint32(crc, 0, crc32(value, crc32(key, crc32(frame))));
    this.entries++;
    for (const part of [frame, key, value, crc]) await this.write(part);
  }

  /** Makes the file durable under its name. */
  async seal(): Promise<FileSeal> {
    const end = Buffer.alloc(endBytes + 4);
    writeUint64(end, 4, this.entries);
    writeUint32(end, endBytes, crc32(end.subarray(0, endBytes)));
    await this.write(end);
    await this.flush();
    await this.file.sync();
    await this.file.close();
    await rename(`${this.path}.new`, this.path);
    await syncFolder(dirname(this.path));
    return { bytes: this.written, sha256: this.hash.digest("hex"), entries: this.entries };
  }

  /** Removes the unfinished file. */
  async abandon(): Promise<void> {
    await this.file.close();
    await rm(`${this.path}.new`, { force: true });
  }

  private async write(part: Uint8Array): Promise<void> {
    this.waiting.push(part);
    this.waitingBytes += part.length;
    if (this.waitingBytes >= bufferBytes) await this.flush();
  }

  private async flush(): Promise<void> {
    const bytes = Buffer.concat(this.waiting);
    this.waiting = [];
    this.waitingBytes = 0;
    this.hash.update(bytes);
    for (let at = 0; at < bytes.length;) {
      at += (await this.file.write(bytes, at, bytes.length - at)).bytesWritten;
    }
    this.written += bytes.length;
  }
}

/** The entries of a file, each checked. Throws BackupRefused at the first wrong byte. */
export async function* readBackupFile(
  path: string,
  storeId: string,
  seal: FileSeal,
): AsyncGenerator<Entry> {
  const refuse = (what: string): BackupRefused => new BackupRefused(`${path}: ${what}`);
  const unreadable = (error: Error): never => {
    throw refuse(error.message);
  };
  // Before it is opened: opening a FIFO waits for a writer.
  const found = await stat(path).catch(unreadable);
  if (!found.isFile() || found.size !== seal.bytes) {
    throw refuse("it is not the file that the backup's list names");
  }
  const file = await open(path, "r").catch(unreadable);
  try {
    const reader = new CheckedReader(file, refuse);
    if (Buffer.compare(await reader.take(headerBytes), headerOf(storeId)) !== 0) {
      throw refuse("it is not a file of this store's backup");
    }
    let entries = 0;
    for (;;) {
      const keyLength = readUint32(await reader.peek(4), 0);
      if (keyLength === 0) break;
      yield await nextEntry(reader, keyLength, refuse);
      entries++;
    }
    const end = await reader.take(endBytes + 4);
    const sound = readUint32(end, endBytes) === crc32(end.subarray(0, endBytes));
    if (!sound || readUint64(end, 4) !== entries) throw refuse("its end is corrupted");
    const { bytes, sha256 } = await reader.finish();
    if (bytes !== seal.bytes || sha256 !== seal.sha256 || entries !== seal.entries) {
      throw refuse("it is not the file that the backup's list names");
    }
  } finally {
    await file.close();
  }
}

async function nextEntry(
  reader: CheckedReader,
  keyLength: number,
  refuse: (what: string) => BackupRefused,
): Promise<Entry> {
  const at = reader.offset;
  const frame = await reader.take(frameBytes);
  const valueLength = readUint32(frame, 4);
  if (keyLength + valueLength > entryBytesMax) throw refuse(`the entry at byte ${at} is corrupted`);
  const key = await reader.take(keyLength);
  const value = await reader.take(valueLength);
  const crc = readUint32(await reader.take(4), 0);
  if (crc === crc32(value, crc32(key, crc32(frame)))) return [key, value];
  throw refuse(`the entry at byte ${at} fails its CRC`);
}

/** Reads a file forwards and computes its hash. */
class CheckedReader {
  offset = 0;
  private readonly file: FileHandle;
  private readonly refuse: (what: string) => BackupRefused;
  private readonly hash: Hash = createHash("sha256");
  private buffer: Buffer = Buffer.alloc(0);
  private at = 0;

  constructor(file: FileHandle, refuse: (what: string) => BackupRefused) {
    this.file = file;
    this.refuse = refuse;
  }

  async peek(bytes: number): Promise<Buffer> {
    while (this.buffer.length - this.at < bytes) {
      const more = Buffer.allocUnsafe(Math.max(bufferBytes, bytes));
      const { bytesRead } = await this.file.read(more, 0, more.length, null);
      if (bytesRead === 0) throw this.refuse(`it is cut off at byte ${this.offset}`);
      const part = more.subarray(0, bytesRead);
      this.hash.update(part);
      this.buffer = Buffer.concat([this.buffer.subarray(this.at), part]);
      this.at = 0;
    }
    return this.buffer.subarray(this.at, this.at + bytes);
  }

  /** Returns a copy, which later reads do not change. */
  async take(bytes: number): Promise<Buffer> {
    const taken = Buffer.from(await this.peek(bytes));
    this.at += bytes;
    this.offset += bytes;
    return taken;
  }

  async finish(): Promise<{ bytes: number; sha256: string }> {
    const rest = await this.file.read(Buffer.alloc(1), 0, 1, null);
    const bytes = this.offset + (this.buffer.length - this.at) + rest.bytesRead;
    return { bytes, sha256: this.hash.digest("hex") };
  }
}

function headerOf(storeId: string): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.write(magic, "latin1");
  writeUint32(header, 8, formatVersion);
  header.write(storeId.replaceAll("-", ""), 12, "hex");
  return header;
}
