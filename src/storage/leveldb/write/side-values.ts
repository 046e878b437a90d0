// Values beside the log: each sealed under a space and a name, so that a range gives them in the
// order of their names. The key is drawn in keys.ts; the stored value is
//
//   -  the value as given
//   4  CRC-32 of the key and of everything before
//
// A change puts a higher revision, which stands before the older one, and deletes that in the
// same batch: no key is written twice. A side value that comes back begins with the clock's
// microseconds, beyond every revision it had before.

import { AnnalsError, corruption, invariant } from "../../../domain/errors.ts";
import type {
  SideValue,
  SideValueChange,
  SideValuePage,
  SideValueSpace,
  SideValueStore,
} from "../../storage.ts";
import { seal, unseal } from "../format/checksum.ts";
import type { OpenStore } from "../state/open-store.ts";
import { prefixSideValue, readUint64, writeUint64 } from "../format/keys.ts";
import type { Entry, WriteBatch } from "../kv/kv.ts";

/** On disk: do not renumber. */
const spaceNumbers: Readonly<Record<SideValueSpace, number>> = {
  checkpoint: 1,
  group: 2,
  "group-progress": 3,
  "group-parked": 4,
  "group-gone": 5,
};

/**
 * Spaces whose notes change often: what was deleted lies between one name and the next until
 * LevelDB compacts it, so each name is sought by itself.
 */
const seekingSpaces: ReadonlySet<SideValueSpace> = new Set<SideValueSpace>([
  "checkpoint",
  "group-progress",
]);

const greatest = Number.MAX_SAFE_INTEGER;
const pageCountMax = 256;
const readsAtOnceMax = 32;
const control = /\p{Cc}/u;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function sideValueStore(store: OpenStore): SideValueStore {
  return {
    get: (space, names) => settled(store, () => getSideValues(store, space, [...new Set(names)])),
    list: (page) => settled(store, () => listSideValues(store, page)),
  };
}

/** Looks up what the changes replace; answers what puts them into a batch. */
export async function prepareSideValues(
  store: OpenStore,
  changes: readonly SideValueChange[],
  clock: () => number,
): Promise<(batch: WriteBatch) => void> {
  const prefixes = changes.map(({ space, name }) => sideValuePrefix(space, name));
  const distinct = new Set(prefixes.map((prefix) => prefix.toString("latin1")));
  invariant(distinct.size === changes.length, "a commit changes a note once");
  const older = await inParts(prefixes, (prefix) => newestOf(store, prefix));
  return (batch) => {
    changes.forEach(({ value }, i) => {
      const replaced = older[i];
      const revision = replaced === undefined ? clock() : revisionOf(replaced[0]) + 1;
      if (value !== undefined) {
        const key = sideValueKey(prefixes[i] as Buffer, revision);
        batch.put(key, seal(key, value));
      }
      if (replaced !== undefined) batch.delete(replaced[0]);
    });
  };
}

/** A question whose answer waits for the commit in flight: all of it is seen, or none. */
async function settled<T>(store: OpenStore, ask: () => Promise<T>): Promise<T> {
  const answer = await ask();
  try {
    await store.sideValueCommit;
  } catch (cause) {
    if (!(cause instanceof AnnalsError) || cause.reason !== "OUTCOME_UNKNOWN") return answer;
    throw new AnnalsError({ reason: "RECOVERING" }, "a write failed while this was read", cause);
  }
  return answer;
}

async function getSideValues(
  store: OpenStore,
  space: SideValueSpace,
  names: readonly string[],
): Promise<Map<string, Uint8Array>> {
  const found = await inParts(names, (name) => newestOf(store, sideValuePrefix(space, name)));
  const values = new Map<string, Uint8Array>();
  found.forEach((entry, i) => {
    if (entry !== undefined) values.set(names[i] as string, openSideValue(entry));
  });
  return values;
}

async function listSideValues(store: OpenStore, page: SideValuePage): Promise<SideValue[]> {
  const { space, prefix, after, limit } = page;
  const begin = Buffer.concat([spacePrefix(space), Buffer.from(prefix)]);
  const last = Buffer.concat([begin, Buffer.from([0xff])]);
  let first = after === "" ? begin : afterName(sideValuePrefix(space, after));
  if (Buffer.compare(first, begin) < 0) first = begin;
  const sideValues: SideValue[] = [];
  while (sideValues.length < limit && Buffer.compare(first, last) <= 0) {
    const room = Math.min(limit - sideValues.length, pageCountMax);
    const entries = await store.kv.page({
      first,
      last,
      limit: seekingSpaces.has(space) ? 1 : room,
    });
    if (entries.length === 0) break;
    for (const [key, value] of entries) {
      if (Buffer.compare(key, first) < 0) continue;
      sideValues.push({ space, name: nameOf(key), value: openSideValue([key, value]) });
      first = afterName(key.subarray(0, key.length - 8));
    }
  }
  return sideValues;
}

/** The note as it is now; undefined where there is none. */
async function newestOf(store: OpenStore, prefix: Buffer): Promise<Entry | undefined> {
  const [newest] = await store.kv.page({
    first: sideValueKey(prefix, greatest),
    last: sideValueKey(prefix, 0),
    limit: 1,
  });
  return newest;
}

/** Asks for each item, some at a time. */
async function inParts<T, R>(items: readonly T[], ask: (item: T) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  for (let at = 0; at < items.length; at += readsAtOnceMax) {
    answers.push(...(await Promise.all(items.slice(at, at + readsAtOnceMax).map(ask))));
  }
  return answers;
}

function spacePrefix(space: SideValueSpace): Buffer {
  return Buffer.from([prefixSideValue, spaceNumbers[space]]);
}

/** What all revisions of a note begin with. Names hold no control characters: a zero ends one. */
function sideValuePrefix(space: SideValueSpace, name: string): Buffer {
  invariant(name !== "" && !control.test(name), "a note has a name without control characters");
  return Buffer.concat([spacePrefix(space), Buffer.from(`${name}\0`)]);
}

function sideValueKey(prefix: Buffer, revision: number): Buffer {
  const key = Buffer.allocUnsafe(prefix.length + 8);
  key.set(prefix);
  writeUint64(key, prefix.length, greatest - revision);
  return key;
}

/** The smallest key behind every revision of a note, given what they begin with. */
function afterName(prefix: Uint8Array): Buffer {
  const next = Buffer.from(prefix);
  next[next.length - 1] = 1;
  return next;
}

function revisionOf(key: Uint8Array): number {
  return greatest - readUint64(key, key.length - 8);
}

function nameOf(key: Uint8Array): string {
  try {
    return text.decode(key.subarray(2, key.length - 9));
  } catch (cause) {
    throw corruption("the name of a note is not UTF-8", {}, cause);
  }
}

/** Throws CORRUPTION. */
function openSideValue([key, value]: Entry): Uint8Array {
  const body = unseal(key, value);
  if (body === undefined) throw corruption("a note fails its CRC");
  return body;
}
