// The log of a backup while it is received: parts that are complete, and the one that is being
// written. A removal rewrites chunks of earlier parts: a new file takes the place of such a part
// before a later part counts as complete, so that no backup keeps what its store has removed.

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { CopyRefused } from "../../copy.ts";
import { firstHash, hashOf, openChunk, type Chunk } from "../format/chunk.ts";
import { chunkKey, readUint64 } from "../format/keys.ts";
import type { ChainEnd, ReceivedPart } from "../copy/received-log.ts";
import { BackupFileWriter, BackupRefused, readBackupFile, type FileSeal } from "./backup-file.ts";
import type { LogPart } from "./backup-list.ts";

/** Rewritten chunks that wait for the end of the present part. */
const rewrittenBytesMax = 64 * 1024 * 1024;

export interface BackupLogOptions {
  readonly target: string;
  readonly storeId: string;
  /** A file ends near this size, and the next one begins. */
  readonly partBytes: number;
  /** Called with all complete parts after each change of them. */
  readonly completed: (log: readonly LogPart[]) => Promise<void>;
}

interface OpenPart {
  readonly writer: BackupFileWriter;
  readonly name: string;
  readonly first: number;
}

export class BackupLog {
  /** The complete parts, in order. */
  parts: readonly LogPart[];
  end: ChainEnd;
  private readonly options: BackupLogOptions;
  private open: OpenPart | undefined;
  /** By last position. */
  private rewritten = new Map<number, Chunk>();
  private rewrittenBytes = 0;

  constructor(options: BackupLogOptions, complete: readonly LogPart[]) {
    this.options = options;
    this.parts = complete;
    this.end = endOf(complete);
  }

  async add({ chunks, rewritten, end }: ReceivedPart): Promise<void> {
    for (const chunk of chunks) {
      this.open ??= await this.begin(chunk.first);
      await this.open.writer.add([chunkKey(chunk.last), chunk.value]);
    }
    for (const chunk of rewritten) {
      this.rewritten.set(chunk.last, chunk);
      this.rewrittenBytes += chunk.value.length;
    }
    this.end = end;
    const isFull = (this.open?.writer.bytes ?? 0) >= this.options.partBytes;
    if (isFull || this.rewrittenBytes >= rewrittenBytesMax) await this.seal();
  }

  /** Completes the present part. */
  async seal(): Promise<void> {
    if (this.open === undefined) return;
    const { writer, name, first } = this.open;
    this.open = undefined;
    const seal = await writer.seal();
    const { position: last, hash } = this.end;
    const part = { name, first, last, ...seal, chain: hex(hash) };
    const parts: LogPart[] = [];
    for (const each of [...this.parts, part]) parts.push(await this.withRewritten(each));
    this.parts = parts;
    this.rewritten = new Map();
    this.rewrittenBytes = 0;
    await this.options.completed(parts);
  }

  async abandon(): Promise<void> {
    await this.open?.writer.abandon();
    this.open = undefined;
  }

  private async begin(first: number): Promise<OpenPart> {
    // The last position is not known yet, so the file is named by its first one.
    const name = `log-${padded(first)}.annals`;
    const { target, storeId } = this.options;
    return { writer: await BackupFileWriter.create(join(target, name), storeId), name, first };
  }

  /** The part, or another one in its place if some of its chunks were rewritten. */
  private async withRewritten(part: LogPart): Promise<LogPart> {
    const isConcerned = ({ last }: Chunk): boolean => part.first <= last && last <= part.last;
    if (![...this.rewritten.values()].some(isConcerned)) return part;
    const { target, storeId } = this.options;
    const name = `log-${padded(part.first)}-${randomBytes(4).toString("hex")}.annals`;
    const writer = await BackupFileWriter.create(join(target, name), storeId);
    try {
      for await (const [key, value] of readBackupFile(join(target, part.name), storeId, part)) {
        const chunk = this.rewritten.get(readUint64(key, 1));
        if (chunk !== undefined) requireSameChunk(openChunk(key, value), chunk);
        await writer.add([key, chunk?.value ?? value]);
      }
    } catch (error) {
      await writer.abandon();
      throw error;
    }
    return { ...part, name, ...(await writer.seal()) };
  }
}

/** Throws CopyRefused. */
function requireSameChunk(before: Chunk, rewritten: Chunk): void {
  const { first, last, recordedAt } = rewritten;
  const isPlaced = before.first === first && before.recordedAt === recordedAt;
  if (isPlaced && Buffer.compare(hashOf(before), hashOf(rewritten)) === 0) return;
  throw new CopyRefused(`positions ${first} to ${last} were rewritten from other events`);
}

function endOf(parts: readonly LogPart[]): ChainEnd {
  const last = parts.at(-1);
  if (last === undefined) return { position: 0, hash: firstHash, recordedAt: 0 };
  return { position: last.last, hash: Buffer.from(last.chain, "hex"), recordedAt: 0 };
}

/** Reads everything that was written, from the first byte to the last. Throws BackupRefused. */
export async function readBack(
  target: string,
  storeId: string,
  part: FileSeal & { readonly name: string },
): Promise<void> {
  const entries = readBackupFile(join(target, part.name), storeId, part);
  while (!(await entries.next()).done);
}

/** How many of the parts are there as they were written; the first ones are known to be. */
export async function soundParts(
  target: string,
  storeId: string,
  parts: readonly LogPart[],
  known: ReadonlySet<string>,
): Promise<readonly LogPart[]> {
  for (const [i, part] of parts.entries()) {
    if (known.has(part.sha256)) continue;
    try {
      await readBack(target, storeId, part);
    } catch (error) {
      // What was damaged since is received again.
      if (!(error instanceof BackupRefused)) throw error;
      return parts.slice(0, i);
    }
  }
  return parts;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function padded(position: number): string {
  return String(position).padStart(16, "0");
}
