// Side values are stored beside the log: checkpoints, snapshots, and what consumer groups keep.
// Each is sealed under a space and a name, so that a range lists a space in the order of names.
// keys.ts draws the key. The stored value is
//
//   -  the value
//   4  CRC-32 of the key and of everything before
//
// A change writes a key with a higher revision, which sorts before the old one, and deletes the old
// one in the same batch, so that no key is written twice. A value that is stored again after its
// deletion begins with the clock's microseconds, which exceed all of its earlier revisions.

import { AnnalsError, corruption, invariant } from "../../../domain/errors.ts";
import type { SideValue, SideValueChange, SideValuePage, SideValueSpace } from "../../storage.ts";
import {
  prefixSideValue,
  readUint64,
  sideValueSpaceNumbers,
  writeUint64,
  seal,
  unseal,
} from "../format/keys.ts";
import type { Entry, Operation } from "../kv/kv.ts";
import type { OpenStore } from "../state/open-store.ts";

const spaceNumbers: Readonly<Record<SideValueSpace, number>> = sideValueSpaceNumbers;

const spaceNames: ReadonlyMap<number, SideValueSpace> = new Map(
  Object.entries(spaceNumbers).map(([space, number]) => [number, space as SideValueSpace]),
);

/**
 * Spaces whose values change often. Between two names there may be many deleted revisions until
 * LevelDB compacts them, so each name is looked up separately.
 */
const seekingSpaces: ReadonlySet<SideValueSpace> = new Set<SideValueSpace>([
  "checkpoint",
  "group-progress",
]);

const greatest = Number.MAX_SAFE_INTEGER;
const pageCountMax = 256;
const readsAtOnceMax = 32;
const nothing = new Uint8Array();
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The existing values, by name. Throws CORRUPTION. */
export async function getSideValues(
  store: OpenStore,
  space: SideValueSpace,
  names: Iterable<string>,
): Promise<Map<string, Uint8Array>> {
  const asked = new Set(names);
  const values = new Map<string, Uint8Array>();
  await inParts([...asked], async (name) => {
    const entry = await newestOf(store, space, name, false);
    if (entry !== undefined) values.set(name, openSideValue(entry));
  });
  await settled(store, (change) => change.space === space && asked.has(change.name));
  return values;
}

/** Throws CORRUPTION. */
export async function listSideValues(store: OpenStore, page: SideValuePage): Promise<SideValue[]> {
  const { space, prefix, after, limit, namesOnly: keysOnly = false } = page;
  const begin = Buffer.concat([spacePrefix(space), Buffer.from(prefix)]);
  const last = Buffer.concat([begin, Buffer.from([0xff])]);
  let first = after === "" ? begin : afterName(namePrefix(space, after));
  if (Buffer.compare(first, begin) < 0) first = begin;
  const sideValues: SideValue[] = [];
  while (sideValues.length < limit && Buffer.compare(first, last) <= 0) {
    const room = seekingSpaces.has(space) ? 1 : Math.min(limit - sideValues.length, pageCountMax);
    const entries = await store.kv.page({ first, last, limit: room, keysOnly });
    if (entries.length === 0) break;
    for (const [key, value] of entries) {
      // An older revision of the previous name.
      if (Buffer.compare(key, first) < 0) continue;
      const opened = keysOnly ? nothing : openSideValue([key, value]);
      sideValues.push({ space, name: nameOf(key), value: opened });
      first = afterName(key.subarray(0, key.length - 8));
    }
  }
  await settled(store, (change) => change.space === space && change.name.startsWith(prefix));
  return sideValues;
}

/**
 * The operations of a commit that change side values: a new value gets a new key, and the key that
 * it replaces is deleted. `now` is the clock's time.
 */
export async function composeSideValues(
  store: OpenStore,
  changes: readonly SideValueChange[],
  now: number,
): Promise<Operation[]> {
  const names = new Set(changes.map(({ space, name }) => `${space} ${name}`));
  invariant(names.size === changes.length, "a commit changes a side value once");
  const newest = await inParts(changes, (each) => newestOf(store, each.space, each.name, true));
  const operations: Operation[] = [];
  changes.forEach(({ space, name, value }, i) => {
    const older = newest[i]?.[0];
    if (value !== undefined) {
      const key = sideValueKey(space, name, older === undefined ? now : revisionOf(older) + 1);
      operations.push([key, seal(key, value)]);
    }
    if (older !== undefined) operations.push([older, undefined]);
  });
  return operations;
}

/** The changes that entries make as another store has them. Throws CORRUPTION. */
export function changesAmong(operations: readonly Operation[]): SideValueChange[] {
  return operations.map(([key, value]) => {
    const space = spaceNames.get(key[1] as number);
    if (space === undefined) throw corruption("a side value is of no space that is known");
    return { space, name: nameOf(key), value };
  });
}

/**
 * Waits for the commit in flight if it changes a value that was just read. The value may come from
 * that commit, and must only be returned together with the rest of it.
 */
async function settled(
  { sideValueCommit }: OpenStore,
  concerns: (change: SideValueChange) => boolean,
): Promise<void> {
  if (sideValueCommit === undefined || !sideValueCommit.changes.some(concerns)) return;
  try {
    await sideValueCommit.ended;
  } catch (cause) {
    // Nothing was written, unless the outcome is unknown.
    if (!(cause instanceof AnnalsError) || cause.reason !== "OUTCOME_UNKNOWN") return;
    throw new AnnalsError({ reason: "RECOVERING" }, "a write failed while this was read", cause);
  }
}

/** Whose value a key has. Undefined: it is of the first builds. Throws CORRUPTION. */
export function sideValueNameOf(
  key: Uint8Array,
): { readonly space: SideValueSpace; readonly name: string } | undefined {
  const space = key[0] === prefixSideValue ? spaceNames.get(key[1] as number) : undefined;
  return space && { space, name: nameOf(key) };
}

/** The newest revision of a side value. Undefined: there is none. */
async function newestOf(
  store: OpenStore,
  space: SideValueSpace,
  name: string,
  keysOnly: boolean,
): Promise<Entry | undefined> {
  const first = sideValueKey(space, name, greatest);
  const last = sideValueKey(space, name, 0);
  const [newest] = await store.kv.page({ first, last, limit: 1, keysOnly });
  return newest;
}

/** Calls `ask` for each item, some at a time. */
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

/** The prefix of all revisions of a side value. Names have no U+0000, which terminates them. */
function namePrefix(space: SideValueSpace, name: string): Buffer {
  const isNamed = name !== "" && !name.includes("\0");
  invariant(isNamed, "a side value has a name without U+0000");
  return Buffer.concat([spacePrefix(space), Buffer.from(`${name}\0`)]);
}

export function sideValueKey(space: SideValueSpace, name: string, revision: number): Buffer {
  const prefix = namePrefix(space, name);
  const key = Buffer.allocUnsafe(prefix.length + 8);
  key.set(prefix);
  writeUint64(key, prefix.length, greatest - revision);
  return key;
}

/** The smallest key after every revision of a side value, given their prefix. */
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
    throw corruption("the name of a side value is not UTF-8", {}, cause);
  }
}

/** Throws CORRUPTION. */
function openSideValue([key, value]: Entry): Uint8Array {
  const body = unseal(key, value);
  if (body === undefined) throw corruption("a side value fails its CRC");
  return body;
}
