// Turns batches of the log into the messages of a read or subscription: filters, links, and as many
// events as were asked for.

import { auditStream } from "../../../domain/event.ts";
import { create, toBinary } from "@bufbuild/protobuf";
import { RecordedEventSchema } from "../../../gen/annals/v1/event_pb.js";
import {
  ReadRespSchema,
  type ReadResp,
} from "../../../gen/event_store/client/streams/streams_pb.js";
import { WireReader } from "../../../domain/wire.ts";
import { RepeatableMessage, type PrefixedMessages } from "../../../grpc/transport/message-parts.ts";
import { doneWith } from "../../../log/scheduling/scheduled-read.ts";
import type { Batch, RereadableBatch } from "../../../log/verbs.ts";
import { bufferOf } from "../mapping/bytes.ts";
import { linkTarget, linkType } from "../mapping/content.ts";
import type { CallerContext } from "../mapping/context.ts";
import { EventWriter, type WriterOptions } from "./event-writer.ts";
import type { EventFilter } from "./filter.ts";
import { linkId } from "../mapping/ids.ts";
import { recordOfRevision } from "../mapping/look-up.ts";
import { presentedRecord } from "../mapping/metadata.ts";
import { presentedName } from "../mapping/names.ts";
import type { EventRead } from "./read-request.ts";
import { RecordView } from "../mapping/record-view.ts";

export interface EventStreamOptions extends WriterOptions {
  readonly resolvesLinks: boolean;
  /** Events come as links of this stream. */
  readonly linksOf?: string | undefined;
  readonly filter?: EventFilter | undefined;
  /** Events before it are left out. */
  readonly firstVersion?: number;
}

/** How the events of a read are written. */
export function formOf(wanted: EventRead): EventStreamOptions {
  const { structuredIds, resolvesLinks } = wanted;
  if (wanted.kind === "all") return { structuredIds, resolvesLinks, filter: wanted.filter };
  const { target } = wanted;
  const linksOf = target.kind === "links" ? target.name : undefined;
  return { structuredIds, resolvesLinks, linksOf };
}

/** An event, and the link by which it was found. */
export interface FoundRecord {
  readonly record: Uint8Array;
  readonly link: Uint8Array | undefined;
  readonly position: number;
}

/** Messages of a read or a subscription. */
export type ReadPiece = PrefixedMessages | RepeatableMessage;

export interface WriteOptions {
  readonly limit?: number;
  readonly after?: number;
  readonly onExamined?: (position: number) => void;
}

export class EventStream {
  readonly writer: EventWriter;
  private readonly context: CallerContext;
  private readonly options: EventStreamOptions;
  private readonly view = new RecordView();

  constructor(context: CallerContext, options: EventStreamOptions) {
    this.context = context;
    this.options = options;
    this.writer = new EventWriter(options);
  }

  /** Another one that writes the same. */
  again(): EventStream {
    return new EventStream(this.context, this.options);
  }

  /** Whether every event of a batch is written as it is. */
  private get isPlain(): boolean {
    const { resolvesLinks, linksOf, filter, firstVersion } = this.options;
    return !resolvesLinks && linksOf === undefined && filter === undefined && !firstVersion;
  }

  /**
   * Writes the events of a batch that are wanted and after a position, at most `limit`. Returns how
   * many these are. `onExamined` is called after each event of the batch, wanted or not.
   */
  async write(batch: Batch, how: WriteOptions = {}): Promise<number> {
    const { limit = Infinity, after = 0, onExamined } = how;
    const { view } = this;
    if (this.isPlain && batch.count <= limit && after === 0 && onExamined === undefined) {
      this.writer.addAll(batch);
      return batch.count;
    }
    let count = 0;
    for (const frames of batch.frames) {
      const reader = new WireReader(bufferOf(frames));
      while (!reader.done) {
        const { position } = view.scanFrame(reader);
        const passes = this.passes() ?? (await this.tested(batch.frames));
        const isWanted = passes && position > after;
        const adding = isWanted ? this.add() : undefined;
        if (adding !== undefined) await adding;
        if (isWanted && ++count === limit) return count;
        onExamined?.(position);
      }
    }
    view.clear();
    return count;
  }

  /** A promise, if something has to be looked up for it. */
  private add(): Promise<void> | undefined {
    const link = this.link();
    if (link !== undefined) return this.addLinked(link);
    this.writer.addView(this.view);
    return undefined;
  }

  private async addLinked(found: FoundRecord | Promise<FoundRecord>): Promise<void> {
    const { record, link } = await found;
    this.writer.add(record, link);
  }

  /** One event, if it is wanted. */
  async one(record: Uint8Array): Promise<FoundRecord | undefined> {
    const { position } = this.view.scan(record);
    const passes = this.passes() ?? (await this.tested([]));
    return passes ? ((await this.link()) ?? { record, link: undefined, position }) : undefined;
  }

  /** Undefined: the filter does not know the name. */
  private passes(): boolean | undefined {
    const { filter, firstVersion = 0 } = this.options;
    if (this.view.version < firstVersion) return false;
    return filter === undefined || filter.pattern.known(filteredName(filter, this.view));
  }

  /**
   * Whether the event passes. The names of others that the filter does not know are tested along.
   */
  private async tested(others: readonly Uint8Array[]): Promise<boolean> {
    const { filter } = this.options;
    if (filter === undefined) return true;
    const own = filteredName(filter, this.view);
    const unknown = new Set([own]);
    const view = new RecordView();
    for (const frames of others) {
      const reader = new WireReader(bufferOf(frames));
      while (!reader.done) {
        const name = filteredName(filter, view.scanFrame(reader));
        if (filter.pattern.known(name) === undefined) unknown.add(name);
      }
    }
    await filter.pattern.test([...unknown]);
    return filter.pattern.known(own) === true;
  }

  /** What is written in place of the event. Undefined: the event itself. */
  private link(): FoundRecord | Promise<FoundRecord> | undefined {
    const { resolvesLinks, linksOf } = this.options;
    const { view } = this;
    if (linksOf === undefined) return resolvesLinks && view.isLink ? this.resolved() : undefined;
    const { record, position } = view;
    const link = linkTo(view, linksOf);
    return resolvesLinks ? { record, link, position } : { record: link, link: undefined, position };
  }

  private async resolved(): Promise<FoundRecord> {
    const { record, position, data } = this.view;
    const target = linkTarget(data);
    const found =
      target === undefined || target.stream === auditStream
        ? undefined
        : await recordOfRevision(this.context, target.stream, target.revision);
    return found === undefined
      ? { record, link: undefined, position }
      : { record: found, link: record, position };
  }
}

/** The stream or type of an event, as clients see it. */
function filteredName({ by }: EventFilter, view: RecordView): string {
  const shown = view.isOfLifecycle
    ? new RecordView().scan(presentedRecord(view.record, false))
    : view;
  return by === "stream" ? shown.stream : shown.type;
}

/** A link as a record. Its revision is its position in the log, from 0: ascending, with gaps. */
function linkTo(view: RecordView, stream: string): Uint8Array {
  const { position, micros } = view;
  const fields = {
    id: linkId(stream, position),
    stream,
    type: linkType,
    contentType: "application/octet-stream",
    data: Buffer.from(`${view.version - 1}@${presentedName(view.stream)}`),
    version: BigInt(position),
    position: BigInt(position),
    recordedAt: {
      seconds: BigInt(Math.floor(micros / 1_000_000)),
      nanos: (micros % 1_000_000) * 1_000,
    },
  };
  return toBinary(RecordedEventSchema, create(RecordedEventSchema, fields));
}

/**
 * What is written of a batch, in one piece, and how many events these are. The piece can be made
 * again, and nothing of the batch is kept for that. `write` has no other effect.
 */
export async function pieceOf(
  events: EventStream,
  batch: Batch | RereadableBatch,
  write: (into: EventStream) => Promise<number>,
): Promise<{ readonly count: number; readonly piece: ReadPiece | undefined }> {
  const count = await write(events);
  doneWith(batch);
  const piece = events.writer.take();
  if (piece === undefined || !("again" in batch)) return { count, piece };
  const again = async (): Promise<PrefixedMessages | undefined> => {
    await batch.again();
    const into = events.again();
    await write(into);
    batch.letGo();
    return into.writer.take();
  };
  const source = { rest: () => batch.rest(), again };
  return { count, piece: new RepeatableMessage(piece, source) };
}

/** A message that is not an event. */
export function readMessage(content: ReadResp["content"]): Uint8Array {
  return toBinary(ReadRespSchema, create(ReadRespSchema, { content }));
}
