// The terms that a store has in memory when it closes in order, in a file for its next start: the
// first append to a stream, and the first read of a tag, need no search for where its postings end.
//
//   <folder>/TERMS, deleted when the store opens
//     16   magic
//     36   the store's id
//      4   1, in the byte order of this machine
//      8   the head's position, big-endian
//     32   the hash of the chunk that ends at the head
//      4   CRC-32 of all of the above
//     -    parts, each as 4 count of words, 4 CRC-32 of the words, the words: one with how many
//          parts of the filter of known keys follow, these, and the parts of the table of terms
//
// The hash stands for the whole log, from which all terms follow: where the log ends with the same
// hash, the file is as of its head, whatever has happened to the folder meanwhile. In any other
// case, the terms are looked up when they are needed, as if there were no file.

import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { OpenStore } from "./open-store.ts";
import { shardCount } from "./term-table.ts";

const magic = "annals terms 02\n";
const idBytes = 36;
const wordBytes = 4;
const headBytes = magic.length + idBytes + wordBytes + 8 + 32 + wordBytes;
const partHeadBytes = 2 * wordBytes;
/** Terms that are added in one turn of the event loop: about a millisecond. */
const termsPerTurn = 1_000;

/** The file is not written where it could fill the disk. */
const spareBytesMin = 512 * 1024 * 1024;

/** Parts of the filter, two for each layer. */
const filterPartsMax = 64;
/** Where all keys are read, the thread is left to others for so much longer than it takes. */
const restTimes = 4;

type Kept = Pick<OpenStore, "terms" | "known" | "kv" | "head" | "headHash">;

interface KeptTermsParts {
  readonly folder: string;
  readonly storeId: string;
  readonly spareBytes: () => number;
  readonly warn: (message: string, cause?: unknown) => void;
}

export class KeptTerms {
  private readonly parts: KeptTermsParts;
  private readonly path: string;
  private readonly closing = new AbortController();
  private recalled: Promise<void> | undefined;
  private learning: Promise<void> | undefined;

  constructor(parts: KeptTermsParts) {
    this.parts = parts;
    this.path = join(parts.folder, "TERMS");
  }

  /**
   * Takes the file that the store left when it closed, if there is one, and goes on reading it
   * after the return. Called when the store has opened, before any commit. Terms that are known
   * already stay as they are. Without a file, the database says in time which keys there are.
   */
  async recall(store: Kept): Promise<void> {
    const expected = headOf(this.parts.storeId, store);
    try {
      const file = await open(this.path, "r");
      await rm(this.path);
      this.recalled = this.read(file, expected, store).catch((cause: unknown) => this.tell(cause));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT") this.tell(cause);
    }
    this.learning = this.whenRecalled.then(() => this.learn(store));
  }

  /** Resolves when all that `recall` takes has been taken. */
  get whenRecalled(): Promise<void> {
    return this.recalled ?? Promise.resolve();
  }

  /** Writes the file. No commit may follow. */
  async keep(store: Kept): Promise<void> {
    const { storeId, spareBytes, warn } = this.parts;
    this.closing.abort();
    await this.learning;
    if (store.head.position === 0 || spareBytes() < spareBytesMin) return;
    try {
      await this.write(headOf(storeId, store), store);
    } catch (cause) {
      warn("TERMS cannot be written: the next start looks terms up as they are needed", cause);
    }
  }

  private async read(file: FileHandle, expected: Buffer, store: Kept): Promise<void> {
    try {
      const head = await read(file, headBytes);
      if (head === undefined || Buffer.compare(head, expected) !== 0) return;
      await recallParts(file, store);
    } finally {
      await file.close();
    }
  }

  private async learn({ known, kv }: Kept): Promise<void> {
    const { signal } = this.closing;
    const rest = async (ms: number): Promise<void> => {
      await sleep(1 + ms * restTimes, undefined, { ref: false, signal }).catch(() => {});
    };
    try {
      if (!known.isComplete) await known.learn(kv, rest, signal);
    } catch (cause) {
      this.parts.warn("not all keys could be read: new names are looked up on disk", cause);
    }
  }

  private tell(cause: unknown): void {
    this.parts.warn("TERMS cannot be read: terms are looked up as they are needed", cause);
  }

  private async write(head: Buffer, { terms, known }: Kept): Promise<void> {
    const aside = `${this.path}.new`;
    const file = await open(aside, "w", 0o600);
    try {
      await file.write(head);
      const filter = known.pack();
      await writePart(file, new Int32Array([filter.length]));
      for (const words of filter) await writePart(file, words);
      for (let part = 0; part < shardCount; part++) await writePart(file, terms.pack(part));
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    await rename(aside, this.path);
  }
}

async function recallParts(file: FileHandle, store: Kept): Promise<void> {
  const { size } = await file.stat();
  if (!(await recallFilter(file, size, store))) return;
  const { terms } = store;
  for (let part = 0; part < shardCount; part++) {
    const words = await readPart(file, size);
    if (words === undefined) return;
    for (let at: number | undefined = 0; at < words.length;) {
      at = terms.unpack(words, at, termsPerTurn);
      if (at === undefined) return;
      await setImmediate();
    }
  }
}

/** Whether the file goes on after it. */
async function recallFilter(file: FileHandle, size: number, { known }: Kept): Promise<boolean> {
  const [count = Infinity] = (await readPart(file, size)) ?? [];
  if (count > filterPartsMax) return false;
  const parts: Int32Array<ArrayBuffer>[] = [];
  for (let i = 0; i < count; i++) {
    const words = await readPart(file, size);
    if (words === undefined) return false;
    parts.push(words);
  }
  if (count > 0) known.unpack(parts);
  return true;
}

async function writePart(file: FileHandle, words: Int32Array<ArrayBuffer>): Promise<void> {
  const bytes = Buffer.from(words.buffer, words.byteOffset, words.byteLength);
  const head = Buffer.alloc(partHeadBytes);
  head.writeUInt32BE(words.length);
  head.writeUInt32BE(crc32(bytes), wordBytes);
  await file.writev([head, bytes]);
}

/** Undefined: it is not as it was written. */
async function readPart(
  file: FileHandle,
  size: number,
): Promise<Int32Array<ArrayBuffer> | undefined> {
  const head = await read(file, partHeadBytes);
  if (head === undefined) return undefined;
  const length = head.readUInt32BE() * wordBytes;
  const bytes = length > size ? undefined : await read(file, length);
  if (bytes === undefined || crc32(bytes) !== head.readUInt32BE(wordBytes)) return undefined;
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / wordBytes);
}

/** Undefined: the file ends before. */
async function read(file: FileHandle, size: number): Promise<Buffer<ArrayBuffer> | undefined> {
  const bytes = Buffer.allocUnsafeSlow(size);
  for (let at = 0; at < size;) {
    const { bytesRead } = await file.read(bytes, at, size - at);
    if (bytesRead === 0) return undefined;
    at += bytesRead;
  }
  return bytes;
}

function headOf(storeId: string, { head, headHash }: Kept): Buffer {
  const order = Buffer.from(new Int32Array([1]).buffer);
  const position = Buffer.alloc(8);
  position.writeBigUInt64BE(BigInt(head.position));
  const id = Buffer.alloc(idBytes);
  id.write(storeId, "latin1");
  const fields = Buffer.concat([Buffer.from(magic), id, order, position, headHash]);
  const crc = Buffer.alloc(wordBytes);
  crc.writeUInt32BE(crc32(fields));
  return Buffer.concat([fields, crc]);
}
