// The side values of a group: its record under its name, and under its id its progress (a base and
// later deltas) and its parked events. A deleted group leaves its id behind until the last of its
// side values is removed.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { corruption } from "../../domain/errors.ts";
import type { GroupWrite, Parked } from "../../domain/group/journal.ts";
import { decodeProgress, encodeProgress, loadProgress } from "../../domain/group/progress-codec.ts";
import type { Progress } from "../../domain/group/progress.ts";
import { ParkedEventSchema } from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { SideValue, SideValueChange, SideValueSpace, Storage } from "../../storage/storage.ts";
import { decodeGroupRecord, encodeGroupRecord, type GroupRecord } from "./record.ts";

type SideValues = Pick<Storage, "sideValues">;

/** Numbers in names have this many digits, so that names sort like the numbers. */
const digits = 16;
const pageCount = 256;
const microsPerSecond = 1_000_000;

export interface LoadedGroup {
  readonly record: GroupRecord;
  readonly progress: Progress;
  readonly baseSequence: number;
}

/** Undefined: there is no such group. Throws CORRUPTION. */
export async function loadRecord(
  { sideValues }: SideValues,
  name: string,
): Promise<GroupRecord | undefined> {
  const value = (await sideValues.get("group", [name])).get(name);
  return value && decodeGroupRecord(name, value);
}

export async function loadGroup(
  source: SideValues,
  name: string,
): Promise<LoadedGroup | undefined> {
  const record = await loadRecord(source, name);
  if (record === undefined) return undefined;
  const { id } = record;
  const base = (await source.sideValues.get("group-progress", [id])).get(id);
  if (base === undefined) throw damaged(record);
  try {
    const after = numbered(id, decodeProgress(base).sequence);
    const deltas = await allSideValues(source, "group-progress", `${id}/`, after);
    const loaded = loadProgress(
      base,
      deltas.map(({ value }) => value),
    );
    return { record, ...loaded };
  } catch (cause) {
    throw damaged(record, cause);
  }
}

/** The side values that create a group. */
export function creationSideValues(record: GroupRecord, progress: Progress): SideValueChange[] {
  const value = encodeProgress(progress);
  return [recordSideValue(record), { space: "group-progress", name: record.id, value }];
}

export function recordSideValue(record: GroupRecord): SideValueChange {
  return { space: "group", name: record.name, value: encodeGroupRecord(record) };
}

/** The side values that delete a group. */
export function deletionSideValues({ name, id }: GroupRecord): SideValueChange[] {
  return [
    { space: "group", name, value: undefined },
    { space: "group-progress", name: id, value: undefined },
    { space: "group-gone", name: id, value: new Uint8Array() },
  ];
}

/** The side values of a write of the group's state machine. */
export function writeSideValues(
  { id }: GroupRecord,
  write: GroupWrite,
  parkedAt: number,
): SideValueChange[] {
  const { form, sequence, progress, obsolete, parked, unparked } = write;
  const name = form === "base" ? id : numbered(id, sequence);
  return [
    { space: "group-progress", name, value: progress },
    ...obsolete.map((old) => gone("group-progress", numbered(id, old))),
    ...unparked.map((position) => gone("group-parked", numbered(id, position))),
    ...parked.map((one): SideValueChange => {
      const value = encodeParked(one, parkedAt);
      return { space: "group-parked", name: numbered(id, one.position), value };
    }),
  ];
}

export interface StoredParked extends Parked {
  /** Microseconds since 1970, UTC. */
  readonly parkedAt: number;
}

/** Parked events after a position, in the order of positions. */
export async function listParked(
  { sideValues }: SideValues,
  id: string,
  after: number,
  limit: number,
): Promise<StoredParked[]> {
  const page = { space: "group-parked", prefix: `${id}/`, after: numbered(id, after) } as const;
  return (await sideValues.list({ ...page, limit })).map(decodeParked);
}

/** Which of these events are parked. */
export async function findParked(
  { sideValues }: SideValues,
  id: string,
  positions: readonly number[],
): Promise<number[]> {
  const names = positions.map((position) => numbered(id, position));
  const found = await sideValues.get("group-parked", names);
  return positions.filter((_, i) => found.has(names[i] as string));
}

export async function countParked(source: SideValues, id: string): Promise<number> {
  let count = 0;
  for (let after = 0; ;) {
    const page = await listParked(source, id, after, pageCount);
    count += page.length;
    if (page.length < pageCount) return count;
    after = page.at(-1)?.position ?? after;
  }
}

/** Some side values that deleted groups have left behind. Empty: there are no more. */
export async function leftovers({ sideValues }: SideValues): Promise<SideValueChange[]> {
  const everything = { prefix: "", after: "" };
  const [first] = await sideValues.list({ space: "group-gone", ...everything, limit: 1 });
  if (first === undefined) return [];
  const id = first.name;
  for (const space of ["group-progress", "group-parked"] as const) {
    const page = { space, prefix: `${id}/`, after: "", limit: pageCount };
    const found = await sideValues.list(page);
    if (found.length > 0) return found.map(({ name }) => gone(space, name));
  }
  return [gone("group-gone", id)];
}

function gone(space: SideValueSpace, name: string): SideValueChange {
  return { space, name, value: undefined };
}

function numbered(id: string, number: number): string {
  return `${id}/${`${number}`.padStart(digits, "0")}`;
}

async function allSideValues(
  { sideValues }: SideValues,
  space: SideValueSpace,
  prefix: string,
  from: string,
): Promise<SideValue[]> {
  const all: SideValue[] = [];
  for (let after = from; ;) {
    const page = await sideValues.list({ space, prefix, after, limit: pageCount });
    all.push(...page);
    if (page.length < pageCount) return all;
    after = page.at(-1)?.name ?? after;
  }
}

function encodeParked({ position, attempts, reason }: Parked, parkedAt: number): Uint8Array {
  const seconds = Math.floor(parkedAt / microsPerSecond);
  const nanos = (parkedAt - seconds * microsPerSecond) * 1_000;
  const time = { seconds: BigInt(seconds), nanos };
  const fields = { position: BigInt(position), attempts, reason, parkedAt: time };
  return toBinary(ParkedEventSchema, create(ParkedEventSchema, fields));
}

/** Throws CORRUPTION. */
function decodeParked({ name, value }: SideValue): StoredParked {
  try {
    const { position, attempts, reason, parkedAt } = fromBinary(ParkedEventSchema, value);
    if (!name.endsWith(`/${`${position}`.padStart(digits, "0")}`) || parkedAt === undefined) {
      throw new RangeError("not what its name says");
    }
    const micros = Number(parkedAt.seconds) * microsPerSecond + parkedAt.nanos / 1_000;
    return { position: Number(position), attempts, reason, parkedAt: micros };
  } catch (cause) {
    throw corruption("the side value of a parked event makes no sense", {}, cause);
  }
}

function damaged({ name }: GroupRecord, cause?: unknown) {
  return corruption(`the progress of group ${JSON.stringify(name)} makes no sense`, {}, cause);
}
