// A subscriber of a history, over as many connections as it takes. It gets every matching event
// once, in order, without a gap (I9), and nothing that it is told about a position may turn out to
// be false (I11).
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../../src/gen/annals/v1/read_pb.js";
import type { History } from "./history.ts";
import { batchOf, recordsOf } from "./record.ts";
import type { Walk } from "./walk.ts";

export type Followed =
  | { readonly kind: "all" }
  | { readonly kind: "stream"; readonly name: string }
  | { readonly kind: "tag"; readonly name: string };

export class Follower {
  /** The key of the walk's list to compare with. Undefined: everything. */
  readonly key: string | undefined;
  readonly name: string;
  /** The position to resume after. */
  after = 0;
  delivered = 0;
  caughtUp = 0;
  words = 0;
  /** It subscribes when everything is written, and catches up with all of it. */
  late = false;
  /** Events in a message. Absent: any number. */
  batchEventsMax: number | undefined;
  checkpointIntervalMs = 100;
  private readonly history: History;
  private readonly followed: Followed;
  private version = 0;
  private last = 0;
  private readonly positions: number[] = [];
  private compared = 0;
  /** The position it began after. */
  private readonly start: number;
  private told: { readonly position: number; readonly count: number }[] = [];

  constructor(history: History, followed: Followed, name: string, start = 0) {
    this.history = history;
    this.start = start;
    this.after = start;
    this.last = start;
    this.followed = followed;
    this.name = name;
    this.key = followed.kind === "all" ? undefined : `${followed.kind[0]}:${followed.name}`;
  }

  /** The request that resumes after the last message. */
  request(): Buffer {
    const { followed, checkpointIntervalMs } = this;
    const selection =
      followed.kind === "all"
        ? {}
        : followed.kind === "stream"
          ? { selection: { case: "stream" as const, value: followed.name } }
          : {
              selection: { case: "query" as const, value: { items: [{ tags: [followed.name] }] } },
            };
    const request = create(SubscribeRequestSchema, {
      ...selection,
      start: { case: "afterPosition", value: BigInt(this.after) },
      checkpointInterval: {
        seconds: BigInt(Math.floor(checkpointIntervalMs / 1_000)),
        nanos: (checkpointIntervalMs % 1_000) * 1e6,
      },
      ...(this.batchEventsMax !== undefined && { batchEventsMax: this.batchEventsMax }),
    });
    return Buffer.from(toBinary(SubscribeRequestSchema, request));
  }

  message(message: Buffer): void {
    const batch = batchOf(message);
    if (batch !== undefined) {
      for (const record of recordsOf(batch)) this.event(record);
      return;
    }
    const { message: word } = fromBinary(SubscribeResponseSchema, message);
    if (word.case === undefined || word.case === "batch") {
      return this.history.violate(`${this.name}: a message without content`);
    }
    this.words++;
    if (word.case === "caughtUp") this.caughtUp++;
    const position = Number(word.value.position);
    if (position < this.after) {
      this.history.violate(`${this.name}: ${word.case} at ${position}, behind ${this.after}`);
    }
    if (this.key === undefined && position !== this.after) {
      this.history.violate(`${this.name}: ${word.case} at ${position}, delivered ${this.after}`);
    }
    this.after = Math.max(this.after, position);
    this.told.push({ position, count: this.delivered });
  }

  private event(record: Buffer): void {
    const { history, name } = this;
    const seen = history.see(name, record);
    if (seen === undefined) return;
    const { position, version } = seen;
    this.delivered++;
    if (position <= this.after) {
      history.violate(`${name}: position ${position} comes after ${this.after} was passed`);
    }
    if (this.key === undefined && position !== this.last + 1) {
      history.violate(`${name}: ${position} follows ${this.last}`);
    }
    const begins = this.start > 0 && this.version === 0;
    if (this.followed.kind === "stream" && version !== this.version + 1 && !begins) {
      history.violate(`${name}: version ${version} follows ${this.version}`);
    }
    if (!this.wants(seen.stream, seen.op.shape.tags)) {
      history.violate(`${name}: position ${position} was not asked for`);
    }
    if (this.key !== undefined) this.positions.push(position);
    this.version = version;
    this.last = position;
    this.after = Math.max(this.after, position);
  }

  private wants(stream: string, tags: readonly string[]): boolean {
    const { followed } = this;
    if (followed.kind === "all") return true;
    return followed.kind === "stream" ? stream === followed.name : tags.includes(followed.name);
  }

  /** Compares what arrived up to the walk's head with the walk. */
  settle(walk: Walk): void {
    const { history, name, key } = this;
    const list = key === undefined ? undefined : (walk.lists.get(key) ?? []);
    const before = list === undefined ? this.start : countThrough(list, this.start);
    if (list !== undefined) {
      const count = Math.min(this.positions.length, list.length - before);
      for (; this.compared < count; this.compared++) {
        const [got, due] = [this.positions[this.compared], list[this.compared + before]];
        if (got === due) continue;
        history.violate(`${name}: got ${got} where ${due} was due`);
        break;
      }
    }
    const later: typeof this.told = [];
    for (const { position, count } of this.told) {
      if (position > walk.head) later.push({ position, count });
      else {
        const due = (list === undefined ? position : countThrough(list, position)) - before;
        if (count !== due) {
          history.violate(`${name}: told ${position} after ${count} events; ${due} were due`);
        }
      }
    }
    this.told = later;
  }

  /** Whether everything that the walk found was delivered. In the end, nothing may be missing. */
  hasAll(walk: Walk): boolean {
    if (this.key === undefined) return this.last >= walk.head;
    const list = walk.lists.get(this.key) ?? [];
    return this.positions.length >= list.length - countThrough(list, this.start);
  }

  /** After the last walk: positions that no walk reached were never durable (I10). */
  end(walk: Walk): void {
    this.settle(walk);
    const { history, name } = this;
    for (const { position } of this.told) {
      history.violate(`${name}: was told ${position}; the log ends at ${walk.head}`);
    }
    if (this.last > walk.head) {
      history.violate(`${name}: was sent ${this.last}; the log ends at ${walk.head}`);
    }
    if (!this.hasAll(walk)) {
      history.violate(`${name}: has ${this.delivered} events up to ${this.last}, and not the rest`);
    }
  }
}

/** How many of an ascending list are at or below a position. */
function countThrough(list: readonly number[], position: number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((list[middle] as number) <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
