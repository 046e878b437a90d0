// Progress as bytes. On disk: format version 1. Numbers are varints; positions in a list ascend and
// are told by what they add to the one before; texts are UTF-8 behind their length.
//
//   base    1  sequence through from_time unsettled
//              fronts:  count, each (position retry key)
//              replays: count, each (position retry)
//              ahead:   count, each (position)
//              carried: count, each (position retry)
//              eras:    count, each (query ordering prefix through
//                                    fronts: count, each (position key))
//   delta   2  sequence through unsettled
//              dropped: count, each (number)
//              moved:   count, each (number through-position retry)
//              added:   count, each (position retry key)
//              replays: count, each (position 0 | 1 retry)
//   retry      attempts, and where there are any: retry_at
//   query      an annals.v1.Query message
//   ordering   1 stream, 2 category, 3 tag, 4 none

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { QuerySchema } from "../../gen/annals/v1/query_pb.js";
import { ByteWriter } from "../byte-writer.ts";
import { invariant } from "../errors.ts";
import {
  advanceProgress,
  type Era,
  type Front,
  type Progress,
  type ProgressDelta,
  type Retry,
} from "./progress.ts";
import type { GroupOrdering } from "./settings.ts";
import { WireReader } from "../wire.ts";

const baseForm = 1;
const deltaForm = 2;
const orderingNumbers = { stream: 1, category: 2, tag: 3, none: 4 } as const;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function encodeProgress(progress: Progress): Uint8Array {
  const into = new ByteWriter();
  for (const number of [baseForm, progress.sequence, progress.through]) into.varint(number);
  for (const number of [progress.fromTime, progress.unsettledCount]) into.varint(number);
  const fronts = [...progress.fronts].map(([key, front]) => ({ key, front }));
  writeFronts(into, fronts);
  writeRetries(into, progress.replays);
  writePositions(into, [...progress.ahead]);
  writeRetries(into, progress.carried);
  into.varint(progress.eras.length);
  for (const era of progress.eras) writeEra(into, era);
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
    ({ front }) => {
      into.varint(delta.through - front.position);
      writeRetry(into, front);
    },
  );
  writeFronts(into, delta.added);
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
  const fronts = new Map(readFronts(from).map(({ key, front }) => [key, front]));
  const replays = new Map(readRetries(from));
  const ahead = new Set(readList(from, (position) => position));
  const carried = new Map(readRetries(from));
  const eras = Array.from({ length: from.varint() }, () => readEra(from));
  endOf(from);
  return { sequence, through, fromTime, unsettledCount, fronts, replays, ahead, carried, eras };
}

/** Throws on malformed bytes. */
export function decodeDelta(bytes: Uint8Array): ProgressDelta {
  const from = new WireReader(bytes);
  if (from.varint() !== deltaForm) throw new RangeError("group progress: not a delta");
  const [sequence, through, unsettledCount] = [from.varint(), from.varint(), from.varint()];
  const dropped = readList(from, (position) => position);
  const moved = readList(from, (number) => {
    return { number, front: { position: through - from.varint(), ...readRetry(from) } };
  });
  const added = readFronts(from);
  const replays = readList(from, (position) => {
    return { position, retry: from.varint() === 0 ? undefined : readRetry(from) };
  });
  endOf(from);
  return { sequence, through, unsettledCount, dropped, moved, added, replays };
}

/**
 * What the notes of a group say, the deltas in the order of their names. Throws where they are
 * bent.
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

function writeFronts(into: ByteWriter, fronts: readonly { key: string; front: Front }[]): void {
  writeList(
    into,
    fronts,
    ({ front }) => front.position,
    ({ key, front }) => {
      writeRetry(into, front);
      into.text(key);
    },
  );
}

function readFronts(from: WireReader): { key: string; front: Front }[] {
  return readList(from, (position) => {
    const front = { position, ...readRetry(from) };
    return { front, key: readText(from) };
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

function writeEra(into: ByteWriter, { query, ordering, through, fronts }: Era): void {
  const items = query.items.map((item) => ({
    streams: [...item.streams],
    streamPrefixes: [...item.streamPrefixes],
    types: [...item.types],
    tags: [...item.tags],
  }));
  into.bytes(toBinary(QuerySchema, create(QuerySchema, { items })));
  into.varint(orderingNumbers[ordering.kind]);
  into.text(ordering.kind === "tag" ? ordering.prefix : "");
  into.varint(through);
  const ascending = [...fronts].toSorted(([, a], [, b]) => a - b);
  writeList(
    into,
    ascending,
    ([, position]) => position,
    ([key]) => into.text(key),
  );
}

function readEra(from: WireReader): Era {
  const { items } = fromBinary(QuerySchema, from.view());
  const query = {
    items: items.map(({ streams, streamPrefixes, types, tags }) => {
      return { streams, streamPrefixes, types, tags };
    }),
  };
  const ordering = orderingOf(from.varint(), readText(from));
  const through = from.varint();
  const fronts = readList(from, (position) => [readText(from), position] as const);
  return { query, ordering, through, fronts: new Map(fronts) };
}

function orderingOf(number: number, prefix: string): GroupOrdering {
  switch (number) {
    case orderingNumbers.stream:
      return { kind: "stream" };
    case orderingNumbers.category:
      return { kind: "category" };
    case orderingNumbers.tag:
      return { kind: "tag", prefix };
    case orderingNumbers.none:
      return { kind: "none" };
    default:
      throw new RangeError(`group progress: ordering ${number}`);
  }
}

function readText(from: WireReader): string {
  return text.decode(from.view());
}

function endOf(from: WireReader): void {
  if (!from.done) throw new RangeError("group progress: too long");
}
