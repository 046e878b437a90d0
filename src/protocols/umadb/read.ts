// Read and Subscribe. Clients show the boundaries of messages to their users: each message but the
// last has as many events as were asked for, and is cut earlier only where it would get too large.
// No message is empty, except the only one of a read that finds nothing.

import { queryNeeds } from "../../access/requirements.ts";
import { AnnalsError } from "../../domain/errors.ts";
import type {
  ReadRequest,
  ReadResponse,
  SequencedEvent,
  SubscribeRequest,
  SubscribeResponse,
} from "../../gen/umadb/v1/umadb_pb.js";
import type { Call } from "../../grpc/transport/call-environment.ts";
import type {
  Batch,
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

interface Cut {
  readonly events: SequencedEvent[];
  /** Whether the message is whole, and not a piece of one that would have been too large. */
  readonly isWhole: boolean;
}

/** Gathers events into messages. What it holds is drawn from the call's budget. */
class Messages {
  private readonly size: number;
  private readonly call: Call;
  private events: SequencedEvent[] = [];
  private bytes = 0;
  /** Events of the message, in all of its pieces. */
  private count = 0;

  constructor(batchSize: number | undefined, call: Call) {
    this.size = Math.min(Math.max(batchSize ?? batchSizeDefault, 1), batchSizeMax);
    this.call = call;
  }

  /** The messages that are complete with the events of this batch. */
  *add(batch: Batch): Generator<Cut> {
    for (const record of batchRecords(batch)) {
      const bytes = record.length + envelopeBytes;
      if (this.events.length > 0 && this.bytes + bytes > messageBytesMax) {
        yield { events: this.take(), isWhole: false };
      }
      this.call.hold(bytes);
      this.bytes += bytes;
      this.events.push(sequencedOf(record));
      if (++this.count === this.size) yield* this.rest();
    }
  }

  /** The message that is not complete, if it has events. */
  *rest(): Generator<Cut> {
    this.count = 0;
    if (this.events.length > 0) yield { events: this.take(), isWhole: true };
  }

  private take(): SequencedEvent[] {
    const { events } = this;
    this.call.release(this.bytes);
    this.events = [];
    this.bytes = 0;
    return events;
  }
}

export async function* eventMessages(
  context: UmadbContext,
  request: ReadRequest,
  call: Call,
): AsyncGenerator<ReadResponse> {
  if (request.subscribe === true) throw argumentRefused("subscribe: call Subscribe instead");
  const { log, limits } = context;
  const { limit, batchSize } = request;
  const query = umadbQuery(request.query, limits);
  call.require(queryNeeds(query?.items ?? []));
  if (limit === 0) return;
  const { head } = log.info();
  const wanted = query && logRead(request, head);
  const messages = new Messages(batchSize, call);
  let isEmpty = true;
  const response = ({ events, isWhole }: Cut): ReadResponse => {
    isEmpty = false;
    const last = limit === undefined ? BigInt(head) : (events.at(-1)?.position ?? 0n);
    return responseOf(events, isWhole ? last : 0n);
  };
  if (wanted !== undefined) {
    const read = { ...wanted, selection: umadbSelection(query ?? { items: [] }), limit };
    for await (const message of log.read(read, call.signal, call.gate)) {
      if (message.kind !== "batch") continue;
      for (const cut of messages.add(message.batch)) yield response(cut);
    }
  }
  for (const cut of messages.rest()) yield response(cut);
  if (isEmpty) yield responseOf([], limit === undefined ? BigInt(head) : 0n);
}

/** Without `head`: there is none. */
function responseOf(events: SequencedEvent[], head: bigint): ReadResponse {
  return { $typeName: "umadb.v1.ReadResponse", events, ...(head > 0n && { head }) };
}

/** As of the head. Undefined: there are no events there. */
function logRead(
  { start, backwards }: ReadRequest,
  head: number,
): Pick<LogRead, "direction" | "from" | "to"> | undefined {
  const at = (position: number) => ({ kind: "position", position }) as const;
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
): AsyncGenerator<SubscribeResponse> {
  const { log, limits } = context;
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
  const messages = new Messages(batchSize, call);
  const wanted = { selection, start, checkpointIntervalMs };
  try {
    for await (const { events } of followed(log, wanted, messages, call)) {
      const later = events.filter(({ position }) => position > after);
      if (later.length > 0) yield { $typeName: "umadb.v1.SubscribeResponse", events: later };
    }
  } catch (error) {
    // Clients expect that a subscription ends without an error when the server stops.
    if (!(error instanceof AnnalsError && error.reason === "STOPPING")) throw error;
  }
}

/** While the subscription catches up, messages are full; live, they have what there is. */
async function* followed(
  log: UmadbContext["log"],
  wanted: LogSubscribe,
  messages: Messages,
  call: Call,
): AsyncGenerator<Cut> {
  let isLive = false;
  for await (const message of log.subscribe(wanted, call.signal, call.gate)) {
    if (message.kind === "batch") yield* messages.add(message.batch);
    else if (message.kind !== "checkpoint") isLive = message.kind === "caught-up";
    if (isLive) yield* messages.rest();
  }
}

const neverMatched = { streams: [], streamPrefixes: [], types: ["$"], tags: [], tagsAny: [] };
