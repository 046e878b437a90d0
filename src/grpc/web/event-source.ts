// Subscriptions as Server-Sent Events: `GET /v1/subscribe`. Each event is a frame whose id is its
// position and epoch, so that a client that connects anew goes on behind the last one it has seen.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html

import { create, fromBinary } from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { invalidField } from "../../domain/errors.ts";
import { recordsIn, scanPlacement } from "../../domain/record.ts";
import type { Steps } from "../../domain/steps.ts";
import { WireReader, wireBytes } from "../../domain/wire.ts";
import {
  SubscribeRequestSchema,
  SubscribeResponseSchema,
  type SubscribeRequest,
} from "../../gen/annals/v1/read_pb.js";
import { RecordedEventSchema } from "../../gen/annals/v1/event_pb.js";
import { encodeHeaders } from "../../http2/hpack-encoder.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { errorCode } from "../../http2/protocol.ts";
import {
  messagesIn,
  SharedForms,
  writeForms,
  type AnswerFormat,
  type Framable,
  type MakeForm,
} from "../transport/call-format.ts";
import { StatusCode, type CallStatus } from "../transport/status.ts";
import { AnswerText, shortAnswerBytesMax } from "./answer-text.ts";
import { errorJson, respondWithError, type Fields } from "./http-status.ts";
import { writeMessage } from "./long-answer.ts";
import { binaryOf } from "./message-json.ts";
import { Parameters, selectionNames, selectionOfUrl, viewChoices } from "./parameters.ts";

/** Says an event in a frame. `record`: a `RecordedEvent`. */
export type EventText = (record: Uint8Array, out: AnswerText) => Steps<void>;

const names = [...selectionNames, "after", "from", "from_time", "epoch", "view", "format"].concat(
  "checkpoint_seconds",
);

export interface EventSourceRequest {
  readonly request: Buffer;
  /** Whether events are told as CloudEvents. */
  readonly isCloudEvents: boolean;
}

/** The request of `Subscribe` that a URL and the header `last-event-id` ask for. */
export function requestOfUrl(query: string, lastEventId: string | undefined): EventSourceRequest {
  const parameters = new Parameters(query, names);
  const isCloudEvents = parameters.choice("format", { annals: false, cloudevents: true }, false);
  const view = parameters.choice("view", viewChoices, viewChoices.json);
  const seconds = parameters.whole("checkpoint_seconds");
  const request = create(SubscribeRequestSchema, {
    selection: selectionOfUrl(parameters),
    view: isCloudEvents ? viewChoices.full : view,
    ...(seconds !== undefined && { checkpointInterval: { seconds } }),
    ...startOf(parameters, lastEventId),
  });
  return { request: binaryOf(SubscribeRequestSchema, request), isCloudEvents };
}

type Start = Pick<SubscribeRequest, "start" | "epoch">;

function startOf(parameters: Parameters, lastEventId: string | undefined): Start {
  const after = parameters.whole("after");
  const time = parameters.time("from_time");
  const isAtEnd = parameters.choice("from", { start: false, end: true }, false);
  const epoch = parameters.one("epoch") ?? "";
  const given = ["after", "from", "from_time"].filter((name) => parameters.one(name) !== undefined);
  if (given.length > 1) throw invalidField(given[1] as string, `excludes ${given[0]}`);
  if (lastEventId !== undefined && lastEventId !== "") return resumed(lastEventId);
  if (after !== undefined) return { start: { case: "afterPosition", value: after }, epoch };
  if (epoch !== "") throw invalidField("epoch", "is that of after, which is absent");
  if (time !== undefined) return { start: { case: "fromTime", value: time }, epoch };
  if (isAtEnd) return { start: { case: "fromEnd", value: create(EmptySchema) }, epoch };
  return { start: { case: undefined }, epoch };
}

function resumed(id: string): Start {
  const [, position, epoch = ""] = /^(\d{1,16})(?:@([\da-f]{16}))?$/.exec(id) ?? [];
  if (position === undefined) throw invalidField("last-event-id", "is no id of this server");
  return { start: { case: "afterPosition", value: BigInt(position) }, epoch };
}

/** For a client of JavaScript and of annals.v1. */
const plainText: EventText = (record, out) => writeMessage(RecordedEventSchema, record, out);

const tagBatch = SubscribeResponseSchema.field.batch.number * 8 + wireBytes;
const tagEpoch = SubscribeResponseSchema.field.epoch.number * 8 + wireBytes;

/**
 * Milliseconds after which a client connects anew. They begin the next frame: a frame of their own
 * is an event without data to some clients.
 */
const opening = Buffer.from("retry: 1000\n");
const later = Buffer.from("retry: 5000\n");

/**
 * A client that is told 503 when it connects anew never does again, in some libraries. What passes
 * is therefore told in an answer that ends at once.
 */
const passing: ReadonlySet<StatusCode> = new Set([
  StatusCode.UNAVAILABLE,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.DEADLINE_EXCEEDED,
]);

/** What an event's frame costs beside its text, as the scheduler counts: see domain/steps.ts. */
const frameCost = 32;

const formsByText = new WeakMap<EventText, SharedForms>();

function formsOf(textOf: EventText): SharedForms {
  let forms = formsByText.get(textOf);
  if (forms === undefined) formsByText.set(textOf, (forms = new SharedForms()));
  return forms;
}

export class EventSourceAnswers implements AnswerFormat {
  readonly opening = opening;
  private readonly more: Fields;
  private readonly textOf: EventText;
  private readonly forms: SharedForms;
  private epoch = "";

  constructor(more: Fields, textOf: EventText = plainText) {
    this.more = more;
    this.textOf = textOf;
    this.forms = formsOf(textOf);
  }

  begin(stream: Http2Stream): void {
    const head = [
      [":status", "200"],
      ["content-type", "text/event-stream"],
      ["cache-control", "no-store"],
      ["x-content-type-options", "nosniff"],
      // Tells nginx not to hold it back.
      ["x-accel-buffering", "no"],
      ...this.more,
    ] as const;
    stream.respond(encodeHeaders(head));
  }

  send(stream: Http2Stream, messages: readonly Framable[]): boolean {
    return writeForms(stream, messages.map(this.form));
  }

  said(message: Framable): readonly Uint8Array[] {
    return [this.form(message)];
  }

  longForm(message: Framable): Steps<Buffer> | undefined {
    const isLong = message.length > shortAnswerBytesMax;
    return isLong ? this.forms.inSteps(message, this.framesOf) : undefined;
  }

  private readonly form = (message: Framable): Buffer => this.forms.of(message, this.framesOf);

  end(stream: Http2Stream, status: CallStatus | undefined, hasBegun: boolean): void {
    if (status !== undefined && !hasBegun && !passing.has(status.code)) {
      return respondWithError(stream, status, this.more);
    }
    if (!hasBegun) {
      this.begin(stream);
      stream.write(opening);
    }
    const failure = status && `event: failure\ndata: ${JSON.stringify(errorJson(status))}\n`;
    if (stream.write(later, Buffer.from(`${failure ?? ""}\n`))) stream.end();
    else stream.reset(errorCode.enhanceYourCalm);
  }

  endInstead(stream: Http2Stream, status: CallStatus): void {
    this.end(stream, status, true);
  }

  private readonly framesOf: MakeForm = (message) => this.frames(message);

  private *frames(message: Framable): Steps<Buffer> {
    const out = new AnswerText(message.length);
    for (const bytes of messagesIn(message)) yield* this.writeFrames(bytes, out);
    return out.bytes();
  }

  private *writeFrames(bytes: Uint8Array, out: AnswerText): Steps<void> {
    const reader = new WireReader(bytes);
    let frames: Uint8Array | undefined;
    while (!reader.done) {
      const tag = reader.varint();
      if (tag === tagBatch) frames = reader.view();
      else if (tag === tagEpoch) this.epoch = Buffer.from(reader.view()).toString("latin1");
      else reader.passOver(tag & 7);
    }
    if (frames === undefined) out.add(this.progressFrame(bytes));
    else for (const record of recordsIn(frames)) yield* this.writeEvent(record, out);
  }

  private progressFrame(bytes: Uint8Array): string {
    const { message } = fromBinary(SubscribeResponseSchema, bytes);
    if (message.case === undefined || message.case === "batch") return "";
    const { position } = message.value;
    const name = progressNames[message.case];
    const data = JSON.stringify({ position: `${position}`, epoch: this.epoch });
    // It has data, because not every client keeps the id of a frame without.
    return `event: ${name}\nid: ${position}@${this.epoch}\ndata: ${data}\n\n`;
  }

  private *writeEvent(record: Uint8Array, out: AnswerText): Steps<void> {
    const { position } = scanPlacement(record);
    out.add(`id: ${position}@${this.epoch}\ndata: `);
    yield* this.textOf(record, out);
    if (out.add("\n\n", frameCost)) yield out.take();
  }
}

const progressNames = {
  caughtUp: "caught_up",
  fellBehind: "fell_behind",
  checkpoint: "checkpoint",
} as const;
