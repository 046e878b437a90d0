// Read and Subscribe. Clients show the boundaries of messages to their users: each message but the
// last has as many events as were asked for, and is cut earlier only where it would get too large,
// or where the memory for clients is short.
// No message is empty, except the only one of a read that finds nothing.

import { toBinary } from "@bufbuild/protobuf";
import { queryNeeds } from "../../access/requirements.ts";
import { AnnalsError } from "../../domain/errors.ts";
import {
  ReadResponseSchema,
  SubscribeResponseSchema,
  type ReadRequest,
  type ReadResponse,
  type SequencedEvent,
  type SubscribeRequest,
  type SubscribeResponse,
} from "../../gen/umadb/v1/umadb_pb.js";
import type { Call } from "../../grpc/transport/call-environment.ts";
import { RepeatableMessage } from "../../grpc/transport/message-parts.ts";
import type { Encoded } from "../../grpc/transport/methods.ts";
import type { ClientMemory } from "../../log/scheduling/client-memory.ts";
import { doneWith } from "../../log/scheduling/scheduled-read.ts";
import type {
  Batch,
  ReadMessage,
  ReadRequest as LogRead,
  SubscribeRequest as LogSubscribe,
} from "../../log/verbs.ts";
import { argumentRefused } from "./errors.ts";
import {
  umadbQuery,
  batchRecords,
  boundedPosition,
  umadbSelection,
  sequencedOf,
  type UmadbContext,
} from "./mapping.ts";

const batchSizeDefault = 1_024;
const batchSizeMax = 4_096;
/** Clients receive at most 4 MiB. */
const messageBytesMax = 3.5 * 1024 * 1024;
/** What an event takes in a message beside its record. */
const envelopeBytes = 64;
const checkpointIntervalMs = 3_600_000;

interface MessageOptions<M> {
  readonly batchSize: number | undefined;
  readonly call: Call;
  readonly memory: Pick<ClientMemory, "isLarge">;
  /**
   * A message of these events. `isWhole`: it is no piece of one that would have been too large.
   * Undefined: there is no such message.
   */
  encode(events: SequencedEvent[], isWhole: boolean): Encoded<M> | undefined;
  /** Reads the events between these two, and these, again. */
  between(first: number, last: number): AsyncIterable<ReadMessage>;
}

/**
 * Gathers events into encoded messages. What it holds is drawn from the call's budget until then,
 * and nothing of it is kept beside a message that waits for the client.
 */
class Messages<M> {
  private readonly options: MessageOptions<M>;
  private readonly size: number;
  private readonly call: Call;
  private events: SequencedEvent[] = [];
  private bytes = 0;
  /** Events of the message, in all of its pieces. */
  private count = 0;
  private ready: RepeatableMessage[] = [];

  constructor(options: MessageOptions<M>) {
    const { batchSize, call } = options;
    this.size = Math.min(Math.max(batchSize ?? batchSizeDefault, 1), batchSizeMax);
    this.options = options;
    this.call = call;
  }

  /** The messages that are complete with the events of this batch. */
  add(batch: Batch): readonly RepeatableMessage[] {
    for (const record of batchRecords(batch)) {
      const bytes = record.length + envelopeBytes;
      if (this.bytes + bytes > messageBytesMax) this.cut(false);
      this.call.hold(bytes);
      this.bytes += bytes;
      this.events.push(sequencedOf(record));
      if (++this.count === this.size) this.cut(true);
    }
    // Others may need what it holds: this message gets fewer events than were asked for.
    if (this.options.memory.isLarge) this.cut(false);
    doneWith(batch);
    return this.take();
  }

  /** The message that is not complete, if it has events. */
  rest(): readonly RepeatableMessage[] {
    this.cut(true);
    return this.take();
  }

  private take(): readonly RepeatableMessage[] {
    const { ready } = this;
    this.ready = [];
    return ready;
  }

  private cut(isWhole: boolean): void {
    if (isWhole) this.count = 0;
    const first = Number(this.events.at(0)?.position ?? 0n);
    const last = Number(this.events.at(-1)?.position ?? 0n);
    if (first === 0) return;
    const message = this.options.encode(this.events, isWhole);
    this.events = [];
    this.call.release(this.bytes);
    this.bytes = 0;
    if (message === undefined) return;
    const again = (): Promise<Buffer | undefined> => this.again(first, last, isWhole);
    this.ready.push(new RepeatableMessage(message, { rest() {}, again }));
  }

  private async again(first: number, last: number, isWhole: boolean): Promise<Buffer | undefined> {
    const events: SequencedEvent[] = [];
    for await (const message of this.options.between(first, last)) {
      if (message.kind !== "batch") continue;
      for (const record of batchRecords(message.batch)) events.push(sequencedOf(record));
    }
    return this.options.encode(events, isWhole);
  }
}

export async function* eventMessages(
  context: UmadbContext,
  request: ReadRequest,
  call: Call,
): AsyncGenerator<Encoded<ReadResponse> | RepeatableMessage> {
  if (request.subscribe === true) throw argumentRefused("subscribe: call Subscribe instead");
  const { log, limits, environment } = context;
  const { limit, batchSize } = request;
  const query = umadbQuery(request.query, limits);
  call.require(queryNeeds(query?.items ?? []));
  if (limit === 0) return;
  const { head } = log.info();
  const wanted = query && logRead(request, head);
  const selection = umadbSelection(query ?? { items: [] });
  const direction = wanted?.direction ?? "forwards";
  let isEmpty = true;
  const messages = new Messages<ReadResponse>({
    batchSize,
    call,
    memory: environment.memory,
    encode(events, isWhole) {
      isEmpty = false;
      const last = limit === undefined ? BigInt(head) : (events.at(-1)?.position ?? 0n);
      return responseOf(events, isWhole ? last : 0n);
    },
    between(first, last) {
      const bounds = { direction, from: at(first), to: at(last) } as const;
      return log.read({ selection, ...bounds, isGathered: true }, call.signal, call.gate);
    },
  });
  if (wanted !== undefined) {
    const read = { ...wanted, selection, limit, isGathered: true };
    for await (const message of log.read(read, call.signal, call.gate)) {
      if (message.kind === "batch") yield* messages.add(message.batch);
    }
  }
  yield* messages.rest();
  if (isEmpty) yield responseOf([], limit === undefined ? BigInt(head) : 0n);
}

/** Without `head`: there is none. */
function responseOf(events: SequencedEvent[], head: bigint): Encoded<ReadResponse> {
  const response = { $typeName: "umadb.v1.ReadResponse" as const, events };
  return encoded(toBinary(ReadResponseSchema, { ...response, ...(head > 0n && { head }) }));
}

function encoded({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function at(position: number) {
  return { kind: "position", position } as const;
}

/** As of the head. Undefined: there are no events there. */
function logRead(
  { start, backwards }: ReadRequest,
  head: number,
): Pick<LogRead, "direction" | "from" | "to"> | undefined {
  const from = start === undefined ? undefined : boundedPosition(start);
  if (backwards === true) {
    const last = Math.min(from ?? head, head);
    return last === 0 ? undefined : { direction: "backwards", from: at(last) };
  }
  const first = Math.max(from ?? 1, 1);
  return first > head ? undefined : { direction: "forwards", from: at(first), to: at(head) };
}

export async function* subscribedEvents(
  context: UmadbContext,
  request: SubscribeRequest,
  call: Call,
): AsyncGenerator<RepeatableMessage> {
  const { log, limits, environment } = context;
  const query = umadbQuery(request.query, limits);
  call.require(queryNeeds(query?.items ?? []));
  const { after = 0n, batchSize } = request;
  if (after === 2n ** 64n - 1n) return;
  call.sendHeaders();
  // A query that can match no event waits like any other, for the events of a type nobody can have.
  const selection = umadbSelection(query ?? { items: [neverMatched] });
  const start = {
    kind: "after-position",
    position: Math.min(boundedPosition(after), log.info().head),
  } as const;
  const direction = "forwards";
  const messages = new Messages<SubscribeResponse>({
    batchSize,
    call,
    memory: environment.memory,
    encode(events) {
      const later = events.filter(({ position }) => position > after);
      if (later.length === 0) return undefined;
      const response = { $typeName: "umadb.v1.SubscribeResponse" as const, events: later };
      return encoded(toBinary(SubscribeResponseSchema, response));
    },
    between(first, last) {
      const bounds = { direction, from: at(first), to: at(last) } as const;
      return log.read({ selection, ...bounds, isGathered: true }, call.signal, call.gate);
    },
  });
  const wanted = { selection, start, checkpointIntervalMs, isGathered: true };
  try {
    yield* followed(log, wanted, messages, call);
  } catch (error) {
    // Clients expect that a subscription ends without an error when the server stops.
    if (!(error instanceof AnnalsError && error.reason === "STOPPING")) throw error;
  }
}

/** While the subscription catches up, messages are full; live, they have what there is. */
async function* followed(
  log: UmadbContext["log"],
  wanted: LogSubscribe,
  messages: Messages<SubscribeResponse>,
  call: Call,
): AsyncGenerator<RepeatableMessage> {
  let isLive = false;
  for await (const message of log.subscribe(wanted, call.signal, call.gate)) {
    if (message.kind === "batch") yield* messages.add(message.batch);
    else if (message.kind !== "checkpoint") isLive = message.kind === "caught-up";
    if (isLive) yield* messages.rest();
  }
}

const neverMatched = { streams: [], streamPrefixes: [], types: ["$"], tags: [], tagsAny: [] };
