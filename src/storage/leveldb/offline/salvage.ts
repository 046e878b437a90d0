// `annals salvage`: makes a new store of everything in a damaged folder that proves itself, also
// where LevelDB refuses the folder. Chunks come out byte for byte. Lost positions are taken by lost
// records (../../removed-record.ts), so that positions and versions stay dense and a read that
// meets one says DATA_LOSS. The chunk that holds them keeps the hash that the chain needs there,
// and an event at the end of the log records it. The folder itself is only read.

import { createHash } from "node:crypto";
import { streamKeptIn } from "../../../domain/lifecycle/lifecycle-event.ts";
import { checkDatabase } from "../files/database-check.ts";
import type { FilesKv } from "../files/files-kv.ts";
import { openSalvageFiles } from "../files/salvage-files.ts";
import { refuseSpecialFiles } from "../folder/folder-entries.ts";
import { isFolderHeld } from "../folder/folder-lock.ts";
import { readHighWaterMark, readStoreTime } from "../folder/high-water-mark.ts";
import { readIdentity } from "../folder/identity.ts";
import { StoreRefused, StoreTooNew } from "../folder/store-refused.ts";
import { prefixOldSnapshot, prefixSideValue, sideValueSpaceNumbers } from "../format/keys.ts";
import { databaseOf, highWaterMarkPath } from "../create.ts";
import type { Entry } from "../kv/kv.ts";
import { buildSalvaged, type SalvagedStore } from "./salvage-build.ts";
import { entriesUnder, indexRemains } from "./salvage-index.ts";
import { lossesOf, type LostEvent, type Losses } from "./salvage-losses.ts";
import { provedLog, survey, type Survey } from "./salvage-log.ts";

const damagesMax = 100;
const streamsToldMax = 200;

export interface SalvageOptions {
  /** The damaged store's folder. It is not changed. */
  readonly folder: string;
  /** Called with the last position that was looked at. */
  readonly progress?: ((position: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SalvageReport {
  /** The id of the damaged store. Empty: it is not known. */
  readonly storeId: string;
  /** The last position, lost or not. */
  readonly head: number;
  /** Events that are there. */
  readonly events: number;
  /** Positions whose events are lost, first and last. */
  readonly lostPositions: readonly (readonly [first: number, last: number])[];
  readonly lostEvents: readonly LostEvent[];
  /** By space: how many are there. */
  readonly sideValues: Readonly<Record<string, number>>;
  /** What LevelDB, or the check before it, refuses; and what was passed over. */
  readonly damages: readonly string[];
  /** What is lost, in words. Empty: nothing. */
  readonly losses: readonly string[];
  /** Stands for these losses. */
  readonly token: string;
}

/** What can be salvaged, before anything is written. */
export interface SalvagePlan {
  readonly report: SalvageReport;
  /** Makes the store in a folder that is empty or not there yet. Throws BackupRefused. */
  build(target: string, progress?: (position: number) => void): Promise<SalvagedStore>;
  close(): Promise<void>;
}

/** Looks through a damaged store. Throws StoreRefused if there is nothing to be looked at. */
export async function planSalvage(options: SalvageOptions): Promise<SalvagePlan> {
  const { folder, progress, signal } = options;
  await refuseSpecialFiles(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") throw new StoreRefused(folder, ["there is no such folder"]);
    throw error;
  });
  if (await isFolderHeld(folder)) {
    throw new StoreRefused(folder, ["a server has it open: stop that one first"]);
  }
  const identity = await readIdentity(folder).catch((error: unknown) => {
    if (error instanceof StoreTooNew) throw error;
    return undefined;
  });
  const storeId = identity?.storeId ?? "";
  const acknowledged = readHighWaterMark(highWaterMarkPath(folder));
  const damages = new Set<string>();
  const damaged = (damage: string): void => void damages.add(damage);
  const unreadable = (error: Error): never => {
    throw new StoreRefused(folder, [`its files cannot be read: ${error.message}`]);
  };
  const check = await checkDatabase(databaseOf(folder), acknowledged).catch((error: Error) => ({
    findings: [error.message],
  }));
  for (const finding of check.findings) damaged(finding);
  if (storeId === "") damaged("IDENTITY is missing or damaged");
  if (!acknowledged) damaged("MARK is missing or damaged: the end of the log is not certain");
  const kv = await openSalvageFiles(databaseOf(folder), acknowledged, damaged).catch(unreadable);
  try {
    const reached = (position: number): void => {
      signal?.throwIfAborted();
      progress?.(position);
    };
    const log = (): ReturnType<typeof provedLog> => provedLog(kv, acknowledged);
    const surveyed = await survey(log(), reached);
    const remains = await indexRemains(kv, surveyed.gaps);
    const losses = lossesOf(surveyed, remains);
    const sideValues = await countSideValues(kv);
    const report = reportOf({ storeId, surveyed, losses, sideValues, damages });
    const storeTime = readStoreTime(highWaterMarkPath(folder));
    const parts = { folder, log, surveyed, remains, losses, identity, storeTime, signal };
    return {
      report,
      build: (target, built = () => {}) =>
        buildSalvaged({ ...parts, target, progress: built, sideValues: () => sideValuesOf(kv) }),
      close: () => kv.close(),
    };
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** All side values, the newest revision of each: an older one may be there still. */
async function* sideValuesOf(kv: FilesKv): AsyncGenerator<Entry> {
  let previous: Uint8Array = new Uint8Array();
  for (const prefix of [prefixOldSnapshot, prefixSideValue]) {
    for await (const entry of entriesUnder(kv, prefix)) {
      const name = entry[0].subarray(0, -8);
      if (Buffer.compare(name, previous) === 0) continue;
      previous = name;
      yield entry;
    }
  }
}

async function countSideValues(kv: FilesKv): Promise<Record<string, number>> {
  const spaces = new Map<number | undefined, string>(
    Object.entries(sideValueSpaceNumbers).map(([space, number]) => [number, space]),
  );
  const counts: Record<string, number> = {};
  for await (const [key] of sideValuesOf(kv)) {
    const space = key[0] === prefixOldSnapshot ? "snapshot" : (spaces.get(key[1]) ?? "other");
    counts[space] = (counts[space] ?? 0) + 1;
  }
  return counts;
}

interface Reported {
  readonly storeId: string;
  readonly surveyed: Survey;
  readonly losses: Losses;
  readonly sideValues: Readonly<Record<string, number>>;
  readonly damages: ReadonlySet<string>;
}

function reportOf({ storeId, surveyed, losses, sideValues, damages }: Reported): SalvageReport {
  const lostEvents = [...losses.lost.values()];
  const lines = lossLines(lostEvents);
  const lostPositions = rangesOf(lostEvents.map(({ position }) => position));
  const about = JSON.stringify([storeId, surveyed.last, lostEvents, lines]);
  return {
    storeId,
    head: surveyed.last,
    events: surveyed.events + losses.recovered.size,
    lostPositions,
    lostEvents,
    sideValues,
    damages: [...damages].slice(0, damagesMax),
    losses: lines,
    token: `loss-${createHash("sha256").update(about).digest("hex").slice(0, 16)}`,
  };
}

/** What is lost, in words for an operator. */
function lossLines(lost: readonly LostEvent[]): string[] {
  if (lost.length === 0) return [];
  const ranges = rangesOf(lost.map(({ position }) => position)).map(rangeText);
  const lines = [`${plural(lost.length, "event")} at positions ${ranges.join(", ")}`];
  const streams = new Map<string, LostEvent[]>();
  for (const event of lost) {
    streams.set(event.stream, [...(streams.get(event.stream) ?? []), event]);
  }
  const unknown = streams.get("") ?? [];
  streams.delete("");
  for (const stream of streams.keys()) {
    const kept = streamKeptIn(stream);
    if (kept === undefined) continue;
    lines.push(
      `what was removed of stream ${kept} is not known: if its last change is lost, the stream ` +
        "can neither be read nor appended to",
    );
  }
  for (const [stream, events] of [...streams].slice(0, streamsToldMax)) {
    const versions = rangesOf(events.map(({ version }) => version)).map(rangeText);
    lines.push(`stream ${stream}: versions ${versions.join(", ")}${typesText(events)}`);
  }
  if (streams.size > streamsToldMax) {
    lines.push(`and ${streams.size - streamsToldMax} more streams, which --json names`);
  }
  if (unknown.length > 0) {
    const many = plural(unknown.length, "event");
    lines.push(`${many} of no stream, or of one that is not known${typesText(unknown)}`);
    lines.push(
      "if one of these deleted or truncated a stream, what it removed is there again: check the " +
        "streams that you have deleted",
    );
  }
  return lines;
}

function typesText(events: readonly LostEvent[]): string {
  const types = new Set(events.flatMap(({ type }) => (type === undefined ? [] : [type])));
  return types.size === 0 ? "" : ` (types ${[...types].toSorted().join(", ")})`;
}

/** Numbers as ranges of consecutive ones. */
function rangesOf(numbers: readonly number[]): [first: number, last: number][] {
  const ranges: [number, number][] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const range = ranges.at(-1);
    if (range !== undefined && range[1] + 1 >= number) range[1] = number;
    else ranges.push([number, number]);
  }
  return ranges;
}

function rangeText([first, last]: readonly [number, number]): string {
  return first === last ? String(first) : `${first} to ${last}`;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
