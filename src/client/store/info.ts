// Information about the store, its streams and its event types.

import {
  Durability,
  type StreamInfo as WireStream,
  WriteState,
} from "../../gen/annals/v1/info_pb.js";
import { answered, type Context, type OperationOptions } from "./context.ts";
import { NotFoundError } from "./errors.ts";
import { dateOf, safeInteger } from "./numbers.ts";

export interface StoreInfo {
  readonly serverVersion: string;
  /** A UUID made when the store was created. Positions are valid in this store only. */
  readonly storeId: string;
  /** The epoch of its positions. Empty: the server names none. */
  readonly epoch: string;
  readonly head: number;
  readonly engine: string;
  /** `memory`: lost when the server ends. */
  readonly durability: "synced" | "memory" | "unknown";
  readonly acceptsAppends: boolean;
  readonly startedAt: Date;
}

export interface StreamInfo {
  readonly stream: string;
  readonly version: number;
  /** The version up to which the stream was deleted. 0: it never was. */
  readonly deletedThrough: number;
  readonly eventCount: number;
  readonly firstPosition: number;
  readonly lastPosition: number;
  readonly firstRecordedAt: Date;
  readonly lastRecordedAt: Date;
  readonly subscriberCount: number;
}

export interface EventTypeInfo {
  readonly type: string;
  /** How many events of this type were ever recorded, removed ones included. */
  readonly recordedCount: number;
  readonly firstPosition: number;
  readonly lastPosition: number;
}

export interface ListOptions extends OperationOptions {
  /** Only names that begin with this. Absent: all except system names. */
  readonly prefix?: string | undefined;
}

const pageSize = 500;

export async function storeInfo(
  context: Context,
  options: OperationOptions = {},
): Promise<StoreInfo> {
  const info = await answered(context, options, (call) => context.rpc.getInfo({}, call));
  return {
    serverVersion: info.serverVersion,
    storeId: info.storeId,
    epoch: info.epoch,
    head: safeInteger(info.head),
    engine: info.engine,
    durability: durabilities.get(info.durability) ?? "unknown",
    acceptsAppends: info.writeState === WriteState.ACCEPTING,
    startedAt: dateOf(info.startedAt),
  };
}

const durabilities = new Map<Durability, StoreInfo["durability"]>([
  [Durability.SYNCED, "synced"],
  [Durability.MEMORY, "memory"],
]);

/** Undefined: the stream never had an event. */
export async function streamInfo(
  context: Context,
  stream: string,
  options: OperationOptions = {},
): Promise<StreamInfo | undefined> {
  try {
    const answer = await answered(context, options, (call) =>
      context.rpc.getStream({ stream }, call),
    );
    return answer.stream && streamOf(answer.stream);
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

export async function* listStreams(
  context: Context,
  options: ListOptions = {},
): AsyncGenerator<StreamInfo> {
  const { prefix = "" } = options;
  for (let pageToken = ""; ;) {
    const request = { prefix, pageSize, pageToken };
    const page = await answered(context, options, (call) => context.rpc.listStreams(request, call));
    for (const stream of page.streams) yield streamOf(stream);
    pageToken = page.nextPageToken;
    if (pageToken === "") return;
  }
}

export async function* listEventTypes(
  context: Context,
  options: ListOptions = {},
): AsyncGenerator<EventTypeInfo> {
  const { prefix = "" } = options;
  for (let pageToken = ""; ;) {
    const request = { prefix, pageSize, pageToken };
    const page = await answered(context, options, (call) =>
      context.rpc.listEventTypes(request, call),
    );
    for (const { type, recordedCount, firstPosition, lastPosition } of page.eventTypes) {
      yield {
        type,
        recordedCount: safeInteger(recordedCount),
        firstPosition: safeInteger(firstPosition),
        lastPosition: safeInteger(lastPosition),
      };
    }
    pageToken = page.nextPageToken;
    if (pageToken === "") return;
  }
}

function streamOf(info: WireStream): StreamInfo {
  return {
    stream: info.stream,
    version: safeInteger(info.version),
    deletedThrough: safeInteger(info.deletedThrough),
    eventCount: safeInteger(info.eventCount),
    firstPosition: safeInteger(info.firstPosition),
    lastPosition: safeInteger(info.lastPosition),
    firstRecordedAt: dateOf(info.firstRecordedAt),
    lastRecordedAt: dateOf(info.lastRecordedAt),
    subscriberCount: info.subscriberCount,
  };
}
