// A measuring stick for the storage engine: CPU of all threads of this process for each operation,
// without transport and client. A fixed number of operations, so that it means the same on a busy
// machine. The filled store stays in the folder for the next run.
//
//   node bench/stick.ts [--events N] [--folder FOLDER] [--only NAMES] [--cache-bytes N]

import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { CommitEvent, NewEvent } from "../src/domain/event.ts";
import type { QueryItem, Selection } from "../src/domain/query.ts";
import { composeFrame, headerBody } from "../src/domain/record.ts";
import { openLevelStorage } from "../src/storage/leveldb/open.ts";
import type { Storage } from "../src/storage/storage.ts";
import { inTurn, nameCount, payload, streamOf, tagOf, typeOf, zipf } from "./load/events.ts";
import { copyTree } from "./stores.ts";

const atOnce = 8;
const perCommit = 100;
const appendsAtOnce = 64;
const writtenStreams = 1_000;
/** Of a record: no field of the contract, so that it is passed over. */
const dataTag = 0x3a;

const { values } = parseArgs({
  options: {
    events: { type: "string", default: "400000" },
    folder: { type: "string", default: fileURLToPath(new URL("../.tmp/stick", import.meta.url)) },
    only: { type: "string", default: "" },
    "cache-bytes": { type: "string", default: String(64 * 1024 * 1024) },
  },
});
const total = Number(values.events);
const names = nameCount(total);
const data = Array.from({ length: 256 }, (_, seed) => payload(seed));

const stream = (n: number): string => `account-${String(n).padStart(8, "0")}`;
const tag = (n: number): string => `card-${String(n).padStart(8, "0")}`;

function eventOf(n: number, own: { stream: string; tags: readonly string[] }): NewEvent {
  const header = { id: "", type: `Posted-${typeOf(n)}`, ...own };
  const bytes = data[n % data.length] as Buffer;
  const length = Buffer.from([dataTag, (bytes.length & 0x7f) | 0x80, bytes.length >> 7]);
  const body = Buffer.concat([headerBody(header), length, bytes]);
  return { ...header, idFromClient: false, body };
}

async function commit(storage: Storage, events: readonly NewEvent[], tagsWanted?: true) {
  const conditions = events.map(({ tags }) => ({
    query: { items: [{ ...anything, tags }] },
    after: storage.head().position - 1,
    mayBeAhead: false,
  }));
  const { head, versions } = await storage.facts({
    streams: events.map((event) => event.stream),
    ids: [],
    conditions: tagsWanted === true ? conditions : [],
  });
  const reached = new Map(versions);
  const recordedAt = head.recordedAt + 1;
  const placed = events.map((event, i): CommitEvent => {
    const version = (reached.get(event.stream) ?? 0) + 1;
    reached.set(event.stream, version);
    const position = head.position + 1 + i;
    const frame = composeFrame(event.body, version, position, recordedAt);
    return { ...event, version, position, frame };
  });
  await storage.commit({ after: head, recordedAt, events: placed });
}

const anything: QueryItem = { streams: [], streamPrefixes: [], types: [], tags: [], tagsAny: [] };

async function read(storage: Storage, selection: Selection): Promise<number> {
  const { position: head } = storage.head();
  const positions = { first: 1, last: head };
  const request = { selection, positions, asOf: head, batchBytes: 65_536 } as const;
  let count = 0;
  for await (const batch of storage.read({ ...request, direction: "forwards" })) {
    count += batch.count;
  }
  return count;
}

/** Runs the operation so many times, some at once. */
async function times(count: number, operation: () => Promise<unknown>): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await operation();
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function measured(name: string, each: number, run: () => Promise<unknown>): Promise<void> {
  await sleep(50);
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  const micros = ((user + system) / each).toFixed(1);
  process.stdout.write(`${name.padEnd(24)} ${micros.padStart(8)} us\n`);
}

async function filled(folder: string): Promise<void> {
  if (existsSync(folder)) return;
  const half = `${folder}-unfinished`;
  const storage = await openLevelStorage({ folder: half });
  for (let n = 0; n < total; n += perCommit) {
    const events = Array.from({ length: perCommit }, (_, i) =>
      eventOf(n + i, {
        stream: stream(streamOf(n + i, total)),
        tags: [tag(tagOf(n + i, total))],
      }),
    );
    await commit(storage, events);
  }
  await storage.close();
  copyTree(half, folder);
}

const folder = join(values.folder, `events-${total}`);
await filled(folder);

type Load = (storage: Storage) => Promise<void>;

const streamsIn = (order: () => number) => (storage: Storage) => () =>
  read(storage, { kind: "stream", stream: stream(order()) });
const itemsIn = (storage: Storage, item: Partial<QueryItem>) =>
  read(storage, { kind: "query", query: { items: [{ ...anything, ...item }] } });

const reads = Math.min(names, 20_000);
const loads: Record<string, Load> = {
  async "stream, cold"(storage) {
    const next = streamsIn(inTurn(names))(storage);
    await times(reads / 4, next);
    await measured("stream, cold", reads / 2, () => times(reads / 2, next));
  },
  async "stream, zipf"(storage) {
    const next = streamsIn(zipf(names))(storage);
    await times(reads / 4, next);
    await measured("stream, zipf", reads, () => times(reads, next));
  },
  async "stream, just written"(storage) {
    const order = inTurn(writtenStreams);
    let n = 0;
    const write = async (): Promise<void> => {
      const events = Array.from({ length: 10 * writtenStreams }, () =>
        eventOf(n, { stream: `new-${n++ % writtenStreams}`, tags: [] }),
      );
      for (let i = 0; i < events.length; i += perCommit) {
        await commit(storage, events.slice(i, i + perCommit));
      }
    };
    await write();
    const next = () => read(storage, { kind: "stream", stream: `new-${order()}` });
    await times(reads / 4, next);
    await measured("stream, just written", reads, () => times(reads, next));
  },
  async tag(storage) {
    const order = inTurn(names);
    const next = () => itemsIn(storage, { tags: [tag(order())] });
    await times(reads / 8, next);
    await measured("tag", reads / 4, () => times(reads / 4, next));
  },
  async "common type, event"(storage) {
    const next = () => itemsIn(storage, { types: ["Posted-0"] });
    await next();
    await measured("common type, event", total / 10, next);
  },
  async "rare type, event"(storage) {
    const next = () => itemsIn(storage, { types: ["Posted-r"] });
    await times(100, next);
    await measured("rare type, event", (total / 10_000) * 200, () => times(200, next));
  },
  async "append, cold"(storage) {
    await appends("append, cold", storage, 1);
  },
  async "append, two tags"(storage) {
    await appends("append, two tags", storage, 2);
  },
};

/** Each to a stream and with tags that were not used since the start. */
async function appends(name: string, storage: Storage, tags: number): Promise<void> {
  let n = 0;
  const next = async (): Promise<void> => {
    const events = Array.from({ length: appendsAtOnce }, () => {
      const own = Array.from({ length: tags }, (_, i) => tag((tagOf(n, total) + i * 13) % names));
      return eventOf(n, { stream: stream(streamOf(n++, total)), tags: own });
    });
    await commit(storage, events, tags > 1 ? true : undefined);
  };
  for (let i = 0; i < 40; i++) await next();
  await measured(name, appendsAtOnce * 100, async () => {
    for (let i = 0; i < 100; i++) await next();
  });
}

const chosen = values.only.split(",");
for (const [name, load] of Object.entries(loads)) {
  if (!chosen.some((part) => name.startsWith(part))) continue;
  const copy = join(values.folder, `copy-${process.pid}-${name.replaceAll(/\W/g, "-")}`);
  copyTree(folder, copy);
  const storage = await openLevelStorage({
    folder: copy,
    hotBytesMax: Number(values["cache-bytes"]),
  });
  try {
    await load(storage);
  } finally {
    await storage.close();
    rmSync(copy, { recursive: true });
  }
}
