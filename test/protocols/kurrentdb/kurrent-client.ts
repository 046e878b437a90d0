// A small client of the KurrentDB protocol, from the same descriptors as the server.
import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  Streams,
  type ReadReq_OptionsSchema,
  type AppendReq_OptionsSchema,
  type AppendResp,
  type ReadResp,
  type ReadResp_ReadEvent_RecordedEvent,
} from "../../../src/gen/event_store/client/streams/streams_pb.js";
import { collect, nextOf, type Calls } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

export const m = Streams.method;
const empty = {};

export type Expectation = bigint | "any" | "noStream" | "streamExists";

export interface Event {
  id?: string;
  type?: string;
  contentType?: string;
  metadata?: Uint8Array | string;
  data?: Uint8Array | string;
}

/** A server with the protocol, and its store in memory. */
export function startKurrent(...flags: string[]): Promise<TestServer> {
  return startTestServer(["--protocol", "kurrentdb", ...flags]);
}

export const named = (stream: string) => ({ streamName: Buffer.from(stream) });

function proposed(event: Event = {}) {
  const { id = randomUUID(), type = "T", contentType = "application/json" } = event;
  return {
    id: { value: { case: "string", value: id } } as const,
    metadata: { type, "content-type": contentType },
    customMetadata: Buffer.from(event.metadata ?? ""),
    data: Buffer.from(event.data ?? "{}"),
  };
}

function expectation(expected: Expectation) {
  if (typeof expected === "bigint") return { case: "revision", value: expected } as const;
  return { case: expected, value: empty } as const;
}

/** What an append comes to: its revision and position, the present revision, or an error. */
export interface Appended {
  readonly revision: bigint | undefined;
  readonly position: bigint | undefined;
  /** Of a conflict. -1: no stream. */
  readonly current: bigint | undefined;
}

export async function append(
  calls: Calls,
  stream: string,
  all: readonly Event[],
  expected: Expectation = "any",
): Promise<Appended> {
  // One answer comes of many requests, as with a call that streams in both directions.
  const call = calls.pipe(m.append);
  const options: MessageInitShape<typeof AppendReq_OptionsSchema> = {
    streamIdentifier: named(stream),
    expectedStreamRevision: expectation(expected),
  };
  call.send({ content: { case: "options", value: options } });
  for (const event of all) {
    call.send({ content: { case: "proposedMessage", value: proposed(event) } });
  }
  call.end();
  const [answer] = await collect({ [Symbol.asyncIterator]: () => call.answers });
  return appendedOf((answer as AppendResp).result);
}

function appendedOf(result: AppendResp["result"]): Appended {
  const none = { revision: undefined, position: undefined, current: undefined };
  if (result.case === "success") {
    const { currentRevisionOption: revision, positionOption: position } = result.value;
    return {
      ...none,
      revision: revision.case === "currentRevision" ? revision.value : undefined,
      position: position.case === "position" ? position.value.commitPosition : undefined,
    };
  }
  const option = result.value?.currentRevisionOption;
  return { ...none, current: option?.case === "currentRevision" ? option.value : -1n };
}

export type ReadOptions = MessageInitShape<typeof ReadReq_OptionsSchema> & { $typeName?: never };

type StreamOption = NonNullable<ReadOptions["streamOption"]>;

/** A start, or a revision or a position. */
type From = bigint | "start" | "end";

export function ofStream(stream: string, from: From = "start"): StreamOption {
  const streamIdentifier = named(stream);
  const revisionOption =
    typeof from === "bigint"
      ? ({ case: "revision", value: from } as const)
      : ({ case: from, value: empty } as const);
  return { case: "stream", value: { streamIdentifier, revisionOption } };
}

export function ofAll(from: From = "start"): StreamOption {
  const allOption =
    typeof from === "bigint"
      ? ({ case: "position", value: { commitPosition: from, preparePosition: from } } as const)
      : ({ case: from, value: empty } as const);
  return { case: "all", value: { allOption } };
}

const readDefaults: ReadOptions = {
  countOption: { case: "count", value: 1_000n },
  filterOption: { case: "noFilter", value: empty },
  uuidOption: { content: { case: "string", value: empty } },
};

export function read(calls: Calls, options: ReadOptions): Promise<ReadResp[]> {
  return collect(calls.stream(m.read, { options: { ...readDefaults, ...options } }));
}

export async function events(calls: Calls, options: ReadOptions): Promise<RecordedEvent[]> {
  return (await read(calls, options)).flatMap(({ content }) =>
    content.case === "event" ? [content.value.event as RecordedEvent] : [],
  );
}

export type RecordedEvent = ReadResp_ReadEvent_RecordedEvent;

export const backwards = { readDirection: 1 } as const;

export const nameOf = (event: RecordedEvent): string =>
  Buffer.from(event.streamIdentifier?.streamName ?? []).toString();
export const at = (event: RecordedEvent): string => `${nameOf(event)}@${event.streamRevision}`;
export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

export interface Subscription {
  /** The next message that is not left out. */
  next(): Promise<ReadResp["content"]>;
  cancel(): void;
}

export function subscribe(calls: Calls, options: ReadOptions): Subscription {
  const countOption = { case: "subscription", value: empty } as const;
  const call = calls.stream(m.read, { options: { ...readDefaults, ...options, countOption } });
  const iterator = call[Symbol.asyncIterator]();
  return { next: async () => (await nextOf(iterator)).content, cancel: () => call.cancel() };
}

/** The trailers of a failed call. */
export async function trailersOf(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) throw new Error("the call did not fail");
  const { code, details, metadata } = error as {
    code: number;
    details: string;
    metadata: { getMap(): Record<string, unknown> };
  };
  const { "content-type": _, date: __, ...trailers } = metadata.getMap();
  return { code, details, ...trailers };
}
