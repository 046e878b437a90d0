// Writers of a history. Each survives kills: appends in flight when its connection was lost are
// sent again, with the same ids, before anything new.
import { setTimeout as pause } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  AppendResponseSchema,
  AppendPipeResponseSchema,
  type AppendResponse,
} from "../../../src/gen/annals/v1/append_pb.js";
import {
  GetSnapshotRequestSchema,
  GetSnapshotResponseSchema,
  SaveSnapshotRequestSchema,
} from "../../../src/gen/annals/v1/snapshot_pb.js";
import { mix, type Shape } from "./content.ts";
import type { History } from "./history.ts";
import { delimited, type Checks, type Op } from "./op.ts";
import { understood, type Ended, type WireClient } from "./wire-client.ts";

const aborted = 10;
const failedPrecondition = 9;
const notFound = 5;
/** Statuses after which the outcome is unknown or the same append may be retried. */
const passing = new Set([1, 4, 8, 14]);

export const sharedStreams = ["ledger-0", "ledger-1", "ledger-2"] as const;
export const sharedTags = ["seat:0", "seat:1", "seat:2"] as const;

export interface Stop {
  now: boolean;
}

export interface Writer {
  /** Runs until it is stopped or the connection is lost, then waits for what is in flight. */
  run(client: WireClient, stop: Stop): Promise<void>;
  /** Appends whose outcome is unknown. */
  readonly unsettled: number;
}

export interface WriterParts {
  readonly history: History;
  readonly number: number;
  readonly random: () => number;
  /** Between an answer and the next call, of those who make one at a time. Absent: none. */
  readonly paceMs?: number;
}

/** Handles an answer that is not an acknowledgement. Returns whether to send the append again. */
function failed(history: History, op: Op, ended: Ended, server: string): boolean {
  const { status, conflict, message } = ended;
  if (passing.has(status)) return true;
  if (status === aborted) history.conflicted(op, conflict, server);
  else {
    history.violate(`${op.name} failed with status ${status}: ${message}`);
    op.state = "refused";
  }
  return false;
}

export interface PipeSize {
  /** Appends in flight at a time. */
  readonly window: number;
  readonly appendEventsMax: number;
  /** Bytes of most payloads. One in a hundred appends has large ones. */
  readonly eventBytesMax: number;
  /** Between an answer and the next append. Absent: none. */
  readonly paceMs?: number;
}

/** Appends through a pipe, several in flight, of one to many events to one or more streams. */
export class PipeWriter implements Writer {
  private readonly parts: WriterParts;
  private readonly size: PipeSize;
  private again: Op[] = [];
  private readonly done: Op[] = [];

  constructor(parts: WriterParts, size: PipeSize) {
    this.parts = parts;
    this.size = size;
  }

  get unsettled(): number {
    return this.again.length;
  }

  async run(client: WireClient, stop: Stop): Promise<void> {
    const { history } = this.parts;
    const underWay: Op[] = [];
    const later: Op[] = [];
    let halfClosed = false;
    const { window, paceMs } = this.size;
    const fill = (): void => {
      while (underWay.length < window && !halfClosed) {
        if (stop.now && this.again.length === 0) {
          halfClosed = true;
          pipe.half();
          return;
        }
        const op = this.next(underWay);
        pipe.send(piped(op));
        // The same append twice at the same time, as an impatient client sends it.
        if (this.parts.random() < 0.02) {
          history.sent(op);
          underWay.push(op);
          pipe.send(piped(op));
        }
      }
    };
    const pipe = client.pipe("AppendPipe", piped(this.next(underWay)), (message) => {
      const { outcome } = fromBinary(AppendPipeResponseSchema, message);
      const op = underWay.shift();
      if (op === undefined) return history.violate("a pipe gave an answer too many");
      if (outcome.case === "appended") this.acknowledged(op, outcome.value, client.server);
      else if (outcome.case === "failure") {
        const { code: status, message: text, details } = outcome.value;
        const ended = { status, message: text, ...understood(details) };
        if (failed(history, op, ended, client.server)) later.push(op);
      } else history.violate(`${op.name}: an answer without an outcome`);
      // While writes are refused, the pipe ends and is reopened.
      if (later.length > 0 && !halfClosed) {
        halfClosed = true;
        pipe.half();
      } else if (paceMs === undefined) fill();
      else setTimeout(fill, paceMs);
    });
    fill();
    const { status, message } = await pipe.ended;
    halfClosed = true;
    if (status !== 0 && !passing.has(status)) history.violate(`a pipe ended: ${status} ${message}`);
    if (status === 0 && underWay.length > 0) history.violate("a pipe ended without all answers");
    this.again = [...later, ...underWay, ...this.again];
  }

  private acknowledged(op: Op, answer: AppendResponse, server: string): void {
    this.parts.history.acknowledged(op, answer, server);
    if (this.done.length < 64) this.done.push(op);
    else this.done[Math.floor(this.parts.random() * this.done.length)] = op;
  }

  private next(underWay: Op[]): Op {
    const { history, random } = this.parts;
    const repeated =
      random() < 0.02 ? this.done[Math.floor(random() * this.done.length)] : undefined;
    const op = this.again.shift() ?? repeated ?? this.make();
    history.sent(op);
    underWay.push(op);
    return op;
  }

  private make(): Op {
    const { history, number, random } = this.parts;
    const count = Math.max(1, Math.floor(this.size.appendEventsMax ** random()));
    const streamCount = random() < 0.7 ? 1 : 1 + Math.floor(random() * 4);
    const streams = Array.from({ length: streamCount }, (_, i) => {
      return `account-${number}-${mix(Math.floor(random() * 20), i) % 1_000}`;
    });
    const shape: Shape = {
      streams: [...new Set(streams)],
      type: `Posted${Math.floor(random() * 4)}`,
      tags: random() < 0.3 ? [`card:${number}-${Math.floor(random() * 8)}`] : [],
      count,
      bytesMax: random() < 0.01 ? 40_000 : this.size.eventBytesMax,
    };
    return history.begin(number, { ...shape, count: Math.min(count, eventsThatFit(shape)) });
  }
}

/** An append has less than 4 MB. */
function eventsThatFit({ bytesMax }: Shape): number {
  return Math.floor(3_500_000 / (bytesMax + 250));
}

function piped(op: Op): Buffer {
  const request = op.request();
  return Buffer.concat([delimited(0x0a, request.length), request]);
}

/** Competes with other writers for the next version of a shared stream, or for a tag. */
export class Contender implements Writer {
  private readonly parts: WriterParts;
  private again: Op | undefined;

  constructor(parts: WriterParts) {
    this.parts = parts;
  }

  get unsettled(): number {
    return this.again === undefined ? 0 : 1;
  }

  async run(client: WireClient, stop: Stop): Promise<void> {
    const { history } = this.parts;
    while (!stop.now || this.again !== undefined) {
      const op = this.again ?? this.make();
      this.again = op;
      history.sent(op);
      const { answer, ended } = await client.unary("Append", op.request());
      if (answer !== undefined) {
        history.acknowledged(op, fromBinary(AppendResponseSchema, answer), client.server);
        this.again = undefined;
      } else if (!failed(history, op, ended, client.server)) this.again = undefined;
      else return;
      await paced(this.parts);
    }
  }

  private make(): Op {
    const { history, number, random } = this.parts;
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
    const shape = { type: "Booked", count: 1 + Math.floor(random() * 3), bytesMax: 100 };
    if (random() < 0.35) {
      const tag = pick(sharedTags);
      const condition = { tag, after: history.acknowledgedHead };
      return history.begin(number, { ...shape, streams: [tag], tags: [tag] }, { condition });
    }
    const streams = random() < 0.7 ? [pick(sharedStreams)] : sharedStreams.slice(0, 2);
    const checks: Checks = {
      expectations: streams.map((stream) => ({ stream, version: history.known.get(stream) ?? 0 })),
    };
    return history.begin(number, { ...shape, streams, tags: [] }, checks);
  }
}

/** Saves and requests snapshots of shared streams: never beyond the stream (I14). */
export class Snapshooter implements Writer {
  readonly unsettled = 0;
  private readonly parts: WriterParts;
  /** The newest version that was acknowledged, for each stream of each server. */
  private readonly saved = new Map<string, number>();

  constructor(parts: WriterParts) {
    this.parts = parts;
  }

  async run(client: WireClient, stop: Stop): Promise<void> {
    while (!stop.now) {
      const stream = sharedStreams[
        Math.floor(this.parts.random() * sharedStreams.length)
      ] as string;
      const beyond = this.parts.random() < 0.2;
      if (!(await this.save(client, stream, beyond))) return;
      if (!(await this.get(client, stream))) return;
      await paced(this.parts);
    }
  }

  private async save(client: WireClient, stream: string, beyond: boolean): Promise<boolean> {
    const { history } = this.parts;
    const known = history.toldBy(client.server).versions.get(stream) ?? 0;
    const version = known + (beyond ? 1_000_000 : 0);
    if (version === 0) return true;
    const data = stateOf(stream, version);
    const request = { stream, version: BigInt(version), state: { case: "data", value: data } };
    const { ended } = await client.unary(
      "SaveSnapshot",
      toBinary(
        SaveSnapshotRequestSchema,
        create(SaveSnapshotRequestSchema, request as Parameters<typeof create>[1]),
      ),
    );
    if (passing.has(ended.status)) return false;
    if (beyond !== (ended.status === failedPrecondition)) {
      history.violate(`a snapshot of ${stream} at ${version}: ${ended.status} ${ended.message}`);
    }
    const kept = `${client.server}/${stream}`;
    if (!beyond) this.saved.set(kept, Math.max(version, this.saved.get(kept) ?? 0));
    return true;
  }

  private async get(client: WireClient, stream: string): Promise<boolean> {
    const { history } = this.parts;
    const saved = this.saved.get(`${client.server}/${stream}`) ?? 0;
    const request = create(GetSnapshotRequestSchema, { stream });
    const { answer, ended } = await client.unary(
      "GetSnapshot",
      toBinary(GetSnapshotRequestSchema, request),
    );
    if (passing.has(ended.status)) return false;
    if (answer === undefined) {
      if (ended.status !== notFound || saved > 0) {
        history.violate(`the snapshot of ${stream} at ${saved}: ${ended.status} ${ended.message}`);
      }
      return true;
    }
    const { snapshot } = fromBinary(GetSnapshotResponseSchema, answer);
    const version = Number(snapshot?.version ?? 0);
    const told = `a snapshot of ${stream} at ${version}`;
    if (version < saved) history.violate(`${told}; ${saved} was saved`);
    const data = snapshot?.state.case === "data" ? snapshot.state.value : new Uint8Array();
    if (!stateOf(stream, version).equals(data)) history.violate(`${told} holds other bytes`);
    history.toldVersion(told, stream, version);
    return true;
  }
}

async function paced({ paceMs }: WriterParts): Promise<void> {
  if (paceMs !== undefined) await pause(paceMs);
}

function stateOf(stream: string, version: number): Buffer {
  return Buffer.from(`${stream} at ${version}: ${mix(version, stream.length)}`);
}
