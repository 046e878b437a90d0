// Read, Subscribe and Load: converts the log's messages to wire messages in the requested view.

import { create } from "@bufbuild/protobuf";
import { currentEpoch } from "../../domain/epoch.ts";
import {
  GetEventResponseSchema,
  SubscribeResponseSchema,
  type GetEventRequest,
  type GetEventResponse,
  type ReadRequest,
  type ReadResponse,
  type SubscribeRequest,
  type SubscribeResponse,
} from "../../gen/annals/v1/read_pb.js";
import {
  LoadResponseSchema,
  type LoadRequest,
  type LoadResponse,
} from "../../gen/annals/v1/snapshot_pb.js";
import type {
  Batch,
  LoadEnd,
  LoadMessage,
  ReadMessage,
  ReadRequest as LogRead,
  SubscribeMessage,
} from "../../log/verbs.ts";
import type { Answer } from "../transport/methods.ts";
import type { Call } from "../transport/call-environment.ts";
import type { EventStoreMethods, ServiceContext } from "./context.ts";
import { batchInParts, batchMessagesOnce, inView, repeatable, wrap } from "../convert/batches.ts";
import { claimsOfRead, claimsOfSubscribe, epochField, requireEpoch } from "../convert/epoch.ts";
import {
  convertGetEvent,
  convertLoad,
  convertRead,
  convertSubscribe,
  type EventView,
} from "../convert/read-request.ts";
import { readEndResponse } from "../convert/read-end.ts";
import { snapshotBytes } from "../convert/snapshot.ts";
import { timestamp } from "../convert/time.ts";
import { MessageParts, type Message, type RepeatableMessage } from "../transport/message-parts.ts";

const tagReadBatch = 0x0a;
const tagReadEpoch = 0x1a;
const tagSubscribeBatch = 0x0a;
const tagSubscribeEpoch = 0x2a;
const tagLoadSnapshot = 0x0a;
const tagLoadBatch = 0x12;
const tagEvent = 0x0a;

/** What reads and subscriptions need. The epoch changes only while the store is closed. */
interface ReadContext extends ServiceContext {
  readonly epoch: string;
  /** `ReadResponse.epoch` and `SubscribeResponse.epoch`, encoded. */
  readonly readEpoch: Buffer;
  readonly subscribeEpoch: Buffer;
}

export function readMethods(services: ServiceContext) {
  const epoch = currentEpoch(services.log.info().identity.history);
  const context: ReadContext = {
    ...services,
    epoch,
    readEpoch: epochField(tagReadEpoch, epoch),
    subscribeEpoch: epochField(tagSubscribeEpoch, epoch),
  };
  return {
    read: readWith(context),
    subscribe: subscribeWith(context),
    load: (request, call) => load(context, request, call),
    getEvent: (request, call) =>
      context.environment.largeAnswers.make(call, () => getEvent(context, request, call)),
  } satisfies EventStoreMethods;
}

async function getEvent(
  { log, limits }: ReadContext,
  wire: GetEventRequest,
  call: Call,
): Promise<Answer<GetEventResponse>> {
  const [request, view] = convertGetEvent(wire, limits);
  const record = await log.findEvent(request, call);
  if (record === undefined) return create(GetEventResponseSchema);
  return wrap(tagEvent, inView(record, view, limits));
}

function readWith(context: ReadContext) {
  return (wire: ReadRequest, call: Call): AsyncIterable<readonly ReadPart[]> => {
    const [request, view] = convertRead(wire, context.limits);
    return new ReadAnswer(context, { request, view, epoch: wire.epoch, call });
  };
}

type ReadPart = Answer<ReadResponse> | MessageParts | RepeatableMessage;

interface AskedRead {
  readonly request: LogRead;
  readonly view: EventView;
  /** In which the client has read what it refers to. Empty: it does not say. */
  readonly epoch: string;
  readonly call: Call;
}

/** The messages of a read. Written by hand: most reads are short, and a generator costs more. */
class ReadAnswer implements AsyncIterableIterator<readonly ReadPart[], undefined> {
  private readonly context: ReadContext;
  private readonly asked: AskedRead;
  private messages: AsyncIterator<ReadMessage> | undefined;
  private ready: ReadPart[] = [];
  private isFirst = true;
  private isOver = false;

  constructor(context: ReadContext, asked: AskedRead) {
    this.context = context;
    this.asked = asked;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<readonly ReadPart[], undefined>> {
    const { ready } = this;
    if (ready.length === 0 && !this.isOver) await this.readOn();
    if (ready.length === 0) return noMoreParts;
    // The end goes out with the last message.
    const count = this.isOver && ready.length === 2 ? 2 : 1;
    return { done: false, value: ready.splice(0, count) };
  }

  async return(): Promise<IteratorResult<readonly ReadPart[], undefined>> {
    this.isOver = true;
    this.ready = [];
    await this.messages?.return?.();
    return noMoreParts;
  }

  private async readOn(): Promise<void> {
    this.messages ??= await this.begin();
    const { done, value } = await this.messages.next();
    this.isOver = done === true || value.end !== undefined;
    if (done === true) return;
    // It is not asked again, and may be waiting to say that it is over.
    if (this.isOver) await this.messages.return?.();
    try {
      this.convert(value);
    } catch (error) {
      // Who loops over the answer does not return from it when it throws.
      await this.return();
      throw error;
    }
  }

  private convert(message: ReadMessage): void {
    if (message.kind === "batch") this.ready.push(...this.partsOf(message.batch));
    if (message.end !== undefined)
      this.ready.push(readEndResponse(message.end, this.context.readEpoch));
  }

  private async begin(): Promise<AsyncIterator<ReadMessage>> {
    const { request, epoch, call } = this.asked;
    const { log } = this.context;
    if (epoch !== "") await requireEpoch(log, epoch, claimsOfRead(request));
    return log.read(request, call, call.gate)[Symbol.asyncIterator]();
  }

  private partsOf(batch: Batch): ReadPart[] {
    const { limits, readEpoch } = this.context;
    const { view } = this.asked;
    const { isFirst } = this;
    this.isFirst = false;
    return repeatable(batch, () => {
      const messages = batchInParts(batch, tagReadBatch, view, limits);
      return isFirst ? withEpoch(messages, readEpoch) : messages;
    });
  }
}

const noMoreParts = { done: true, value: undefined } as const;

/** The first message also has the epoch. */
function withEpoch([first, ...rest]: readonly Message[], epoch: Buffer): Message[] {
  if (first === undefined) return rest;
  const parts = first instanceof MessageParts ? first.parts : [first];
  return [new MessageParts([...parts, epoch]), ...rest];
}

function subscribeWith({ log, limits, epoch, subscribeEpoch }: ReadContext) {
  return async function* (
    wire: SubscribeRequest,
    call: Call,
  ): AsyncGenerator<Answer<SubscribeResponse> | MessageParts | RepeatableMessage> {
    const [request, view] = convertSubscribe(wire, limits);
    if (wire.epoch !== "") await requireEpoch(log, wire.epoch, claimsOfSubscribe(request));
    let first = true;
    // It is live: the epoch was in the message that said so.
    const offer = (batch: Batch): boolean => {
      const { prefixed } = batchMessagesOnce(batch, tagSubscribeBatch, view, limits);
      return prefixed !== undefined && call.offer(prefixed);
    };
    for await (const message of log.subscribe(request, call.signal, call.gate, offer)) {
      if (message.kind !== "batch") yield progress(message, epoch);
      else {
        const { batch } = message;
        const isFirst = first;
        yield* repeatable(batch, () => {
          const { messages } = batchMessagesOnce(batch, tagSubscribeBatch, view, limits);
          return isFirst ? withEpoch(messages, subscribeEpoch) : messages;
        });
      }
      first = false;
    }
  };
}

const progressCases = {
  "caught-up": "caughtUp",
  "fell-behind": "fellBehind",
  checkpoint: "checkpoint",
} as const;

function progress(
  message: Exclude<SubscribeMessage, { kind: "batch" }>,
  epoch: string,
): SubscribeResponse {
  const value = { position: BigInt(message.position), time: timestamp(message.time) };
  const which = progressCases[message.kind];
  return create(SubscribeResponseSchema, { message: { case: which, value }, epoch });
}

async function* load(
  context: ReadContext,
  wire: LoadRequest,
  call: Call,
): AsyncGenerator<Answer<LoadResponse> | MessageParts | RepeatableMessage> {
  const { log, limits, environment } = context;
  const [request, view] = convertLoad(wire, limits);
  // Up to its first message, which has the snapshot.
  const end = await environment.largeAnswers.turn(call);
  try {
    for await (const message of log.load(request, call.signal, call.gate)) {
      if (message.kind === "batch") {
        const { batch } = message;
        const messages = repeatable(batch, () => batchInParts(batch, tagLoadBatch, view, limits));
        end();
        yield* messages;
        continue;
      }
      const messages = loadMessages(message, view, context);
      end();
      yield* messages;
    }
  } finally {
    end();
  }
}

function loadMessages(
  message: Exclude<LoadMessage, { kind: "batch" }>,
  view: EventView,
  { limits, epoch }: ReadContext,
): readonly Answer<LoadResponse>[] {
  switch (message.kind) {
    case "snapshot":
      return [wrap(tagLoadSnapshot, [snapshotBytes(message.snapshot, view, limits)])];
    case "end":
      return [loadEnd(message.end, epoch)];
  }
}

function loadEnd(
  { version, head, after, eventCount, missingThrough }: LoadEnd,
  epoch: string,
): LoadResponse {
  const end = {
    epoch,
    version: BigInt(version),
    head: BigInt(head),
    after: BigInt(after),
    eventCount: BigInt(eventCount),
    missingThrough: BigInt(missingThrough),
  };
  return create(LoadResponseSchema, { message: { case: "end", value: end } });
}
