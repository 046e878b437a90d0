// A database as the source of a move: its rows are sent as the chunks that a folder would have. No
// long transaction is open meanwhile, because that would slow down servers that go on; the side
// values and the end of the log are of one moment.

import { corruption } from "../../domain/errors.ts";
import type { CopiedStore, CopyPart, CopyStart } from "../copy.ts";
import { requireContinued, sideValueParts } from "../leveldb/copy/copy-store.ts";
import { logParts } from "../leveldb/copy/log-parts.ts";
import { formatVersion } from "../leveldb/format/chunk.ts";
import { chunkKey, readUint64, sideValueSpaceNumbers, seal } from "../leveldb/format/keys.ts";
import type { Entry, ReadableKv, Scan } from "../leveldb/kv/kv.ts";
import { sideValueKey } from "../leveldb/write/side-values.ts";
import type { SideValueSpace } from "../storage.ts";
import {
  batchesAt,
  batchesBetween,
  chunkOfBatch,
  type LogBatch,
} from "../postgres/writes/chunk-rows.ts";
import { sideCrc } from "../postgres/tables/rows.ts";
import { DatabaseRefused } from "../postgres/sessions/database-refused.ts";
import { beginning, type Begun } from "../postgres/head/begun.ts";
import { askHead } from "../postgres/head/log-head.ts";
import { lockStore } from "../postgres/head/lock.ts";
import { knownStore } from "../postgres/tables/schema.ts";
import type { DbSession } from "../postgres/sessions/session.ts";
import type { SourceEnd } from "./ends.ts";

/** The log is sent in stretches; the next one goes up to the head of that moment. */
const restPositionsMax = 10_000;
const batchesAtOnce = 128;
const sideValuesAtOnce = 100;
/** What tells a receiver that it has the side values. No server has such a cursor. */
const cursor = "moved";

export async function databaseSource(session: DbSession, schema: string): Promise<SourceEnd> {
  const known = await knownStore(session);
  if (known.isCopy) {
    throw new DatabaseRefused(`schema ${schema} holds a copy that has not finished, and no store`);
  }
  // Servers that begin meanwhile wait.
  const isAlone = await lockStore(session, schema, true);
  const begun = await beginning(session, known);
  return {
    store: describe(begun),
    isInUse: async () => !isAlone,
    open: (start, signal) => partsOf(session, begun, start, signal),
    close: async () => session.end(),
  };
}

function describe({ store, head, time }: Begun): CopiedStore {
  const { storeId, createdAt, history } = store;
  const described = { storeId, createdAt, formatVersion, history, isContinued: false };
  return { ...described, head: head.position, time: Math.max(time, head.recordedAt) };
}

async function* partsOf(
  session: DbSession,
  begun: Begun,
  start: CopyStart,
  signal: AbortSignal,
): AsyncGenerator<CopyPart> {
  yield { kind: "begin", store: describe(begun) };
  const kv = chunksOf(session);
  let head = await askHead(session);
  await requireContinued(kv, start, head.position);
  const rewrittenAsOf = head.position;
  let { position } = start;
  async function* sent(): AsyncGenerator<CopyPart> {
    const stretch = { kv, after: position, last: head.position, rewrittenAsOf };
    for await (const part of logParts({ ...stretch, sentFrom: start.position + 1 })) {
      signal.throwIfAborted();
      yield { kind: "commits", commits: { ...part, sideValues: [], head: head.position } };
    }
    ({ position } = head);
  }
  for (; head.position - position > restPositionsMax; head = await askHead(session)) yield* sent();
  await session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  head = await askHead(session);
  yield* sent();
  const { chain } = head;
  yield* sideValueParts([new SideValueScan(session)], { position, chain, cursor });
  await session.run("COMMIT");
}

/** The chunks of the log, as a folder's database has them. */
function chunksOf(session: DbSession): ReadableKv {
  const entryOf = (batch: LogBatch): Entry => [chunkKey(batch.last), chunkOfBatch(batch).value];
  return {
    async getMany(keys) {
      const lasts = keys.map((key) => readUint64(key, 1));
      const found = new Map<number, Uint8Array>();
      for (const batch of await batchesAt(session, lasts)) found.set(batch.last, entryOf(batch)[1]);
      return lasts.map((last) => found.get(last));
    },
    async page({ first, last, limit }) {
      const range = { first: readUint64(first, 1), last: readUint64(last, 1) };
      const batches = await batchesBetween(session, range, Math.min(limit, batchesAtOnce));
      return batches.map(entryOf);
    },
  };
}

const someOfSpace = {
  name: "side-values-of-space",
  text: `SELECT name, value, crc FROM side_value WHERE space = $1 AND name > $2
    ORDER BY name LIMIT $3`,
};

/** All side values, in the order of their keys in a folder. */
class SideValueScan implements Scan {
  private readonly session: DbSession;
  private readonly spaces: SideValueSpace[];
  /** A value that has changed since an earlier attempt gets another key. */
  private readonly revision = Date.now() * 1_000;
  private after = "";

  constructor(session: DbSession) {
    this.session = session;
    const spaces = Object.entries(sideValueSpaceNumbers).toSorted(([, a], [, b]) => a - b);
    this.spaces = spaces.map(([space]) => space as SideValueSpace).filter(isMoved);
  }

  async next(): Promise<Entry[]> {
    for (;;) {
      const [space] = this.spaces;
      if (space === undefined) return [];
      const values = [space, this.after, sideValuesAtOnce];
      const rows = await this.session.rows<[string, Uint8Array, number]>(someOfSpace, values);
      this.after = rows.at(-1)?.[0] ?? "";
      if (rows.length === 0) this.spaces.shift();
      else return rows.map((row) => this.entryOf(space, row));
    }
  }

  async close(): Promise<void> {}

  private entryOf(space: SideValueSpace, [name, value, crc]: [string, Uint8Array, number]): Entry {
    if (sideCrc(space, name, value) !== crc) {
      throw corruption(`the side value ${JSON.stringify(name)} fails its CRC`);
    }
    const key = sideValueKey(space, name, this.revision);
    return [key, seal(key, value)];
  }
}

/** What a copy keeps about itself stays there. */
function isMoved(space: SideValueSpace): boolean {
  return space !== "copy";
}
