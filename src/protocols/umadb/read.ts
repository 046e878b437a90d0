// Read and Subscribe. Clients show the boundaries of messages to their users: each message but the
// last has as many events as were asked for, and is cut earlier only where it would get too large,
// or where the memory for clients is short.
// No message is empty, except the only one of a read that finds nothing.

import { toBinary } from "@bufbuild/protobuf";
import { queryNeeds } from "../../access/requirements.ts";
import { AnnalsError } from "../../domain/errors.ts";
import { Effort, type Steps } from "../../domain/steps.ts";
import {
  ReadResponseSchema,
  type ReadRequest,
  type ReadResponse,
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
  sequencedField,
  sequencedOf,
  type UmadbContext,
} from "./mapping.ts";

const batchSizeDefault = 1_024;
const batchSizeMax = 4_096;
/** Clients receive at most 4 MiB. */
const messageBytesMax = 3.5 * 1024 * 1024;
/** What an event that is gathered takes beside its bytes. */
const envelopeBytes = 128;
/** What it costs to encode an event, and each byte of it: see domain/steps.ts. */
const eventCost = 512;
const byteShare = 1 / 16;
const checkpointIntervalMs = 3_600_000;

interface MessageOptions<M> {
  readonly batchSize: number | undefined;
  readonly call: Call;
  readonly memory: Pick<ClientMemory, "isLarge">;
  /** The events of a message are behind this position. */
  readonly after?: bigint;
  /**
   * A message of these events, of which the last one has this position. `isWhole`: it is no piece
   * of one that would have been too large.
   */
  encode(events: Buffer, last: bigint, isWhole: boolean): Encoded<M>;
  /** Reads the events between these two, and these, again. */
  between(first: number, last: number): AsyncIterable<ReadMessage>;
}

/**
 * Gathers events into encoded messages, in steps: nobody shares what a call has encoded. What it
 * holds is drawn from the call's budget until then, and nothing of it is kept beside a message that
 * waits for the client.
 */
class Messages<M> {
  private readonly options: MessageOptions<M>;
  private readonly size: number;
  private readonly call: Call;
  /** Each as a field of the message. */
  private events: Buffer[] = [];
  private first = 0n;
  private last = 0n;
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
  async add(batch: Batch): Promise<readonly RepeatableMessage[]> {
    const { call } = this;
    call.hold(batch.bytes);
    await call.inSteps(this.gather(batch));
    call.release(batch.bytes);
    // Others may need what it holds: this message gets fewer events than were asked for.
    if (this.options.memory.isLarge) this.cut(false);
    doneWith(batch);
    return this.take();
  }

  private *gather(batch: Batch): Steps<void> {
    const effort = new Effort();
    for (const record of batchRecords(batch)) {
      const { position, field } = this.encoded(record);
      const bytes = field.length + envelopeBytes;
      if (this.bytes + bytes > messageBytesMax) this.cut(false);
      this.call.hold(bytes);
      this.bytes += bytes;
      if (this.first === 0n) this.first = position;
      this.last = position;
      this.events.push(field);
      if (++this.count === this.size) this.cut(true);
      if (effort.spend(eventCost + record.length * byteShare)) yield effort.take();
    }
  }

  private encoded(record: Uint8Array): { position: bigint; field: Buffer } {
    const event = sequencedOf(record);
    const { position } = event;
    const isWanted = position > (this.options.after ?? 0n);
    return { position, field: isWanted ? sequencedField(event) : nothing };
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
    const { first, last } = this;
    if (first === 0n) return;
    const events = Buffer.concat(this.events);
    this.events = [];
    this.first = 0n;
    this.call.release(this.bytes);
    this.bytes = 0;
    if (events.length === 0) return;
    const message = this.options.encode(events, last, isWhole);
    const again = (): Promise<Buffer> => this.again(first, last, isWhole);
    this.ready.push(new RepeatableMessage(message, { rest() {}, again }));
  }

  private async again(first: bigint, last: bigint, isWhole: boolean): Promise<Buffer> {
    const events: Buffer[] = [];
    for await (const message of this.options.between(Number(first), Number(last))) {
      if (message.kind === "batch")
        await this.call.inSteps(this.encodedAgain(message.batch, events));
    }
    return this.options.encode(Buffer.concat(events), last, isWhole);
  }

  private *encodedAgain(batch: Batch, events: Buffer[]): Steps<void> {
    const effort = new Effort();
    for (const record of batchRecords(batch)) {
      events.push(this.encoded(record).field);
      if (effort.spend(eventCost + record.length * byteShare)) yield effort.take();
    }
  }
}

const nothing: Buffer = Buffer.alloc(0);

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
    encode(events, last, isWhole) {
      isEmpty = false;
      const end = limit === undefined ? BigInt(head) : last;
      return responseOf(events, isWhole ? end : 0n);
    },
    between(first, last) {
      const bounds = { direction, from: at(first), to: at(last) } as const;
      return log.read({ selection, ...bounds, isGathered: true }, call, call.gate);
    },
  });
  if (wanted !== undefined) {
    const read = { ...wanted, selection, limit, isGathered: true };
    for await (const message of log.read(read, call, call.gate)) {
      if (message.kind === "batch") yield* await messages.add(message.batch);
    }
  }
  yield* messages.rest();
  if (isEmpty) yield responseOf(nothing, limit === undefined ? BigInt(head) : 0n);
}

/** Without `head`: there is none. */
function responseOf(events: Buffer, head: bigint): Encoded<ReadResponse> {
  const { buffer, byteOffset, byteLength } = toBinary(ReadResponseSchema, {
    $typeName: "umadb.v1.ReadResponse",
    events: [],
    ...(head > 0n && { head }),
  });
  return Buffer.concat([events, Buffer.from(buffer, byteOffset, byteLength)]);
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
    after,
    encode: (events) => events,
    between(first, last) {
      const bounds = { direction, from: at(first), to: at(last) } as const;
      return log.read({ selection, ...bounds, isGathered: true }, call, call.gate);
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
    if (message.kind === "batch") yield* await messages.add(message.batch);
    else if (message.kind !== "checkpoint") isLive = message.kind === "caught-up";
    if (isLive) yield* messages.rest();
  }
}

const neverMatched = { streams: [], streamPrefixes: [], types: ["$"], tags: [], tagsAny: [] };
