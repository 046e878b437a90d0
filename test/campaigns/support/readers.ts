// Readers of a history. What they get must be in order, complete for their request, and no older
// than what was acknowledged before it.
import { setTimeout as pause } from "node:timers/promises";
import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Direction,
  ReadRequestSchema,
  ReadResponseSchema,
  type ReadEnd,
} from "../../../src/gen/annals/v1/read_pb.js";
import type { History, Seen } from "./history.ts";
import { batchOf, recordsOf } from "./record.ts";
import type { Walk } from "./walk.ts";
import type { WireClient } from "./wire-client.ts";
import { sharedStreams, sharedTags, type Stop } from "./writers.ts";

const passing = new Set([1, 4, 14]);

type ReadInit = MessageInitShape<typeof ReadRequestSchema>;

function requestBytes(init: ReadInit): Uint8Array {
  return toBinary(ReadRequestSchema, create(ReadRequestSchema, init));
}

/** Reads to the end. Undefined: the call was lost. */
async function readTo(
  history: History,
  client: WireClient,
  init: ReadInit,
  batch: (batch: Buffer) => void,
): Promise<ReadEnd | undefined> {
  let end: ReadEnd | undefined;
  const call = client.stream("Read", requestBytes(init), (message) => {
    const found = batchOf(message);
    if (found !== undefined) return batch(found);
    const { message: word } = fromBinary(ReadResponseSchema, message);
    if (word.case === "end") end = word.value;
  });
  const { status, message } = await call.ended;
  if (status === 0 && end === undefined) history.violate("a read ended without its end");
  const { after, head } = end ?? { after: 0n, head: 0n };
  if (after > head || (init.limit === undefined && after !== head)) {
    history.violate(`a read of everything up to ${head} may go on after ${after}`);
  }
  if (status === 0) return end;
  if (!passing.has(status)) history.violate(`a read failed with status ${status}: ${message}`);
  return undefined;
}

/**
 * Continues the walk to the head. False: the connection was lost. `reaches`: waits until the server
 * is at least there, because another one has told of it.
 */
export async function walkOn(
  history: History,
  client: WireClient,
  walk: Walk,
  settle: (walk: Walk) => void = () => {},
  reaches: (position: number) => Promise<void> = async () => {},
): Promise<boolean> {
  const due = history.due();
  await reaches(due.spokenOf);
  const end = await readTo(
    history,
    client,
    { from: { case: "fromPosition", value: BigInt(walk.head + 1) } },
    (batch) => walk.batch(batch),
  );
  if (end === undefined) {
    history.stillDue(due);
    return false;
  }
  walk.end(Number(end.head));
  history.settle(due, walk);
  settle(walk);
  return true;
}

/** The result of a finished read of a tag, to compare with the log. */
interface Counted {
  readonly name: string;
  readonly key: string;
  readonly head: number;
  readonly count: number;
}

export class Reader {
  readonly keys = sharedTags.map((tag) => `t:${tag}`);
  private readonly history: History;
  private readonly random: () => number;
  private readonly paceMs: number | undefined;
  private counted: Counted[] = [];

  /** `paceMs`: between two reads. Absent: none. */
  constructor(history: History, random: () => number, paceMs?: number) {
    this.history = history;
    this.random = random;
    this.paceMs = paceMs;
  }

  async run(client: WireClient, stop: Stop): Promise<void> {
    while (!stop.now) {
      const least = this.history.toldBy(client.server).head;
      const end = await this.readSome(client);
      if (end === undefined) return;
      this.history.toldHead("a read", Number(end.head), least);
      if (this.paceMs !== undefined) await pause(this.paceMs);
    }
  }

  /** Compares the reads of tags with the walk. */
  settle(walk: Walk): void {
    const later: Counted[] = [];
    for (const counted of this.counted) {
      if (counted.head > walk.head) {
        later.push(counted);
        continue;
      }
      const list = walk.lists.get(counted.key) ?? [];
      const due = list.filter((position) => position <= counted.head).length;
      if (counted.count === due) continue;
      const { name, head, count } = counted;
      this.history.violate(`${name}: ${count} events up to ${head}; there are ${due}`);
    }
    this.counted = later;
  }

  private readSome(client: WireClient): Promise<ReadEnd | undefined> {
    const kind = this.random();
    const pick = <T>(from: readonly T[]): T => from[Math.floor(this.random() * from.length)] as T;
    if (kind < 0.4) return this.readStream(client, pick(sharedStreams));
    if (kind < 0.7) return this.readTag(client, pick(sharedTags));
    if (kind < 0.85) return this.readOn(client, 1 + Math.floor(this.random() * 500));
    return this.readBack(client, 1 + Math.floor(this.random() * 1_500));
  }

  private async readStream(client: WireClient, stream: string): Promise<ReadEnd | undefined> {
    const known = this.history.toldBy(client.server).versions.get(stream) ?? 0;
    const backwards = this.random() < 0.5;
    const seen: Seen[] = [];
    const name = `a read of ${stream}${backwards ? " backwards" : ""}`;
    const end = await readTo(
      this.history,
      client,
      {
        selection: { case: "stream", value: stream },
        direction: backwards ? Direction.BACKWARDS : Direction.FORWARDS,
      },
      this.collect(name, seen),
    );
    if (end === undefined) return undefined;
    const version = Number(end.streamVersion);
    if (version < known) this.history.violate(`${name}: version ${version}, told ${known} before`);
    if (backwards) seen.reverse();
    const versions = seen.map((each) => each.version);
    if (versions.length !== version || versions.some((each, i) => each !== i + 1)) {
      this.history.violate(`${name} to ${version}: versions ${versions.join(" ")}`);
    }
    this.history.toldVersion(name, stream, version);
    return end;
  }

  private async readTag(client: WireClient, tag: string): Promise<ReadEnd | undefined> {
    const seen: Seen[] = [];
    const name = `a read of ${tag}`;
    const end = await readTo(
      this.history,
      client,
      { selection: { case: "query", value: { items: [{ tags: [tag] }] } } },
      this.collect(name, seen),
    );
    if (end === undefined) return undefined;
    this.ascending(name, seen);
    const head = Number(end.head);
    this.counted.push({ name, key: `t:${tag}`, head, count: seen.length });
    return end;
  }

  /** Some events from a random position, forwards. */
  private async readOn(client: WireClient, limit: number): Promise<ReadEnd | undefined> {
    const from = 1 + Math.floor(this.random() * this.history.acknowledgedHead);
    const seen: Seen[] = [];
    const name = `a read of ${limit} from ${from} on`;
    const init: ReadInit = {
      from: { case: "fromPosition", value: BigInt(from) },
      limit: BigInt(limit),
    };
    const end = await readTo(this.history, client, init, this.collect(name, seen));
    if (end === undefined) return undefined;
    const [head, after] = [Number(end.head), Number(end.after)];
    const positions = seen.map(({ position }) => position);
    const due = Math.max(0, Math.min(limit, head - from + 1));
    if (positions.length !== due || positions.some((position, i) => position !== from + i)) {
      this.history.violate(`${name} with head ${head}: ${positions.join(" ")}`);
    }
    const dueAfter = due === limit ? from + limit - 1 : head;
    if (after !== dueAfter) this.history.violate(`${name}: after ${after}, not ${dueAfter}`);
    return end;
  }

  /** The last events of the log, backwards. */
  private async readBack(client: WireClient, limit: number): Promise<ReadEnd | undefined> {
    const seen: Seen[] = [];
    const name = "a read backwards";
    const init = { direction: Direction.BACKWARDS, limit: BigInt(limit) };
    const end = await readTo(this.history, client, init, this.collect(name, seen));
    if (end === undefined) return undefined;
    const head = Number(end.head);
    const positions = seen.map(({ position }) => position);
    const due = Math.min(limit, head);
    if (positions.length !== due || positions.some((position, i) => position !== head - i)) {
      this.history.violate(`${name} of ${limit} from ${head}: ${positions.join(" ")}`);
    }
    return end;
  }

  private collect(name: string, seen: Seen[]): (batch: Buffer) => void {
    return (batch) => {
      for (const record of recordsOf(batch)) {
        const found = this.history.see(name, record);
        if (found !== undefined) seen.push(found);
      }
    };
  }

  private ascending(name: string, seen: readonly Seen[]): void {
    let last = 0;
    for (const { position } of seen) {
      if (position <= last) this.history.violate(`${name}: ${position} after ${last}`);
      last = position;
    }
  }
}
