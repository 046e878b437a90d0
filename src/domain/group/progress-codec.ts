// Progress as bytes. On disk: format version 1. Numbers are varints. Positions in a list ascend,
// and each is stored as its difference from the one before. A text is its length, then UTF-8.
//
//   base    1  sequence through from_time unsettled
//              firsts:  count, each (position retry key)
//              replays: count, each (position retry)
//              ahead:   count, each (position)               } empty, except in stores of 0.1,
//              carried: count, each (position retry)         } where the query and the ordering of
//              earlier: count, each (query ordering prefix   } a group could be changed: see
//                through firsts: count, each (position key)) } `readChanges`
//   delta   2  sequence through unsettled
//              dropped: count, each (number)
//              moved:   count, each (number through-position retry)
//              added:   count, each (position retry key)
//              replays: count, each (position 0 | 1 retry)
//   retry      attempts, and where there are any: retry_at

import { ByteWriter } from "../byte-writer.ts";
import { invariant } from "../errors.ts";
import {
  advanceProgress,
  type FirstUnsettled,
  type Progress,
  type ProgressDelta,
  type Retry,
} from "./progress.ts";
import { WireReader } from "../wire.ts";

const baseForm = 1;
const deltaForm = 2;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function encodeProgress(progress: Progress): Uint8Array {
  const into = new ByteWriter();
  for (const number of [baseForm, progress.sequence, progress.through]) into.varint(number);
  for (const number of [progress.fromTime, progress.unsettledCount]) into.varint(number);
  writeFirsts(
    into,
    [...progress.firsts].map(([key, first]) => ({ key, first })),
  );
  writeRetries(into, progress.replays);
  for (const empty of [0, 0, 0]) into.varint(empty);
  return into.take();
}

export function encodeDelta(delta: ProgressDelta): Uint8Array {
  const into = new ByteWriter();
  for (const number of [deltaForm, delta.sequence, delta.through]) into.varint(number);
  into.varint(delta.unsettledCount);
  writePositions(into, delta.dropped);
  const moved = delta.moved.toSorted((a, b) => a.number - b.number);
  writeList(
    into,
    moved,
    ({ number }) => number,
    ({ first }) => {
      into.varint(delta.through - first.position);
      writeRetry(into, first);
    },
  );
  writeFirsts(into, delta.added);
  const replays = delta.replays.toSorted((a, b) => a.position - b.position);
  writeList(
    into,
    replays,
    ({ position }) => position,
    ({ retry }) => {
      into.varint(retry === undefined ? 0 : 1);
      if (retry !== undefined) writeRetry(into, retry);
    },
  );
  return into.take();
}

/** Throws on malformed bytes. */
export function decodeProgress(bytes: Uint8Array): Progress {
  const from = new WireReader(bytes);
  if (from.varint() !== baseForm) throw new RangeError("group progress: not a base");
  const [sequence, through] = [from.varint(), from.varint()];
  const [fromTime, unsettledCount] = [from.varint(), from.varint()];
  const firsts = new Map(readFirsts(from).map(({ key, first }) => [key, first]));
  const replays = new Map(readRetries(from));
  readChanges(from, firsts);
  endOf(from);
  return { sequence, through, fromTime, unsettledCount, firsts, replays };
}

/** Throws on malformed bytes. */
export function decodeDelta(bytes: Uint8Array): ProgressDelta {
  const from = new WireReader(bytes);
  if (from.varint() !== deltaForm) throw new RangeError("group progress: not a delta");
  const [sequence, through, unsettledCount] = [from.varint(), from.varint(), from.varint()];
  const dropped = readList(from, (position) => position);
  const moved = readList(from, (number) => {
    return { number, first: { position: through - from.varint(), ...readRetry(from) } };
  });
  const added = readFirsts(from);
  const replays = readList(from, (position) => {
    return { position, retry: from.varint() === 0 ? undefined : readRetry(from) };
  });
  endOf(from);
  return { sequence, through, unsettledCount, dropped, moved, added, replays };
}

/**
 * The progress in a group's side values. Deltas are given in the order of their names. Throws if
 * they are damaged.
 */
export function loadProgress(
  base: Uint8Array,
  deltas: readonly Uint8Array[],
): { readonly progress: Progress; readonly baseSequence: number } {
  const begun = decodeProgress(base);
  const later = deltas.map(decodeDelta).filter(({ sequence }) => sequence > begun.sequence);
  return { progress: advanceProgress(begun, later), baseSequence: begun.sequence };
}

function writeList<T>(
  into: ByteWriter,
  ascending: readonly T[],
  positionOf: (one: T) => number,
  rest: (one: T) => void,
): void {
  into.varint(ascending.length);
  let before = 0;
  for (const one of ascending) {
    const position = positionOf(one);
    invariant(position >= before, "positions of a list ascend");
    into.varint(position - before);
    before = position;
    rest(one);
  }
}

function readList<T>(from: WireReader, read: (position: number) => T): T[] {
  const list: T[] = [];
  let position = 0;
  for (let count = from.varint(); count > 0; count--) {
    position += from.varint();
    list.push(read(position));
  }
  return list;
}

function writePositions(into: ByteWriter, positions: readonly number[]): void {
  writeList(
    into,
    positions.toSorted((a, b) => a - b),
    (position) => position,
    () => {},
  );
}

function writeFirsts(into: ByteWriter, firsts: ProgressDelta["added"]): void {
  writeList(
    into,
    firsts,
    ({ first }) => first.position,
    ({ key, first }) => {
      writeRetry(into, first);
      into.text(key);
    },
  );
}

function readFirsts(from: WireReader): { key: string; first: FirstUnsettled }[] {
  return readList(from, (position) => {
    const first = { position, ...readRetry(from) };
    return { first, key: readText(from) };
  });
}

function writeRetries(into: ByteWriter, retries: ReadonlyMap<number, Retry>): void {
  const ascending = [...retries].toSorted(([a], [b]) => a - b);
  writeList(
    into,
    ascending,
    ([position]) => position,
    ([, retry]) => writeRetry(into, retry),
  );
}

function readRetries(from: WireReader): [number, Retry][] {
  return readList(from, (position) => [position, readRetry(from)]);
}

function writeRetry(into: ByteWriter, { attempts, retryAtMs }: Retry): void {
  into.varint(attempts);
  if (attempts > 0) into.varint(retryAtMs);
}

function readRetry(from: WireReader): Retry {
  const attempts = from.varint();
  return { attempts, retryAtMs: attempts > 0 ? from.varint() : 0 };
}

/**
 * Builds of 0.1 also stored what changes of a group's query or ordering required: events settled
 * beyond the group's position, and failures. Failures of first unsettled events are kept. The rest
 * is dropped, so that events settled beyond the position may be delivered once more.
 */
function readChanges(from: WireReader, firsts: Map<string, FirstUnsettled>): void {
  readList(from, () => {});
  const failures = new Map(readRetries(from));
  for (const [key, first] of firsts) {
    const failed = failures.get(first.position);
    if (failed !== undefined) firsts.set(key, { position: first.position, ...failed });
  }
  for (let count = from.varint(); count > 0; count--) {
    from.view();
    from.varint();
    from.view();
    from.varint();
    readList(from, () => from.view());
  }
}

function readText(from: WireReader): string {
  return text.decode(from.view());
}

function endOf(from: WireReader): void {
  if (!from.done) throw new RangeError("group progress: too long");
}
