// Turns batches of the log into the messages of a read or subscription: filters, links, and as many
// events as were asked for.

import { auditStream } from "../../../domain/event.ts";
import { create, toBinary } from "@bufbuild/protobuf";
import { RecordedEventSchema } from "../../../gen/annals/v1/event_pb.js";
import {
  ReadRespSchema,
  type ReadResp,
} from "../../../gen/event_store/client/streams/streams_pb.js";
import type { Batch } from "../../../log/verbs.ts";
import { linkTarget, linkType } from "../mapping/content.ts";
import type { LogContext } from "../mapping/context.ts";
import { EventWriter, type WriterOptions } from "./event-writer.ts";
import type { EventFilter } from "./filter.ts";
import { linkId } from "../mapping/ids.ts";
import { recordOfRevision, recordsOfBatch } from "../mapping/look-up.ts";
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

export interface WriteOptions {
  readonly limit?: number;
  readonly after?: number;
  readonly onExamined?: (position: number) => void;
}

export class EventStream {
  readonly writer: EventWriter;
  private readonly context: LogContext;
  private readonly options: EventStreamOptions;
  private readonly view = new RecordView();

  constructor(context: LogContext, options: EventStreamOptions) {
    this.context = context;
    this.options = options;
    this.writer = new EventWriter(options);
  }

  /** Whether every event of a batch is written as it is. */
  get isPlain(): boolean {
    const { resolvesLinks, linksOf, filter, firstVersion } = this.options;
    return !resolvesLinks && linksOf === undefined && filter === undefined && !firstVersion;
  }

  /**
   * The events of a batch that are wanted, with their links. `onExamined` is called after each
   * event of the batch, wanted or not.
   */
  private async *wanted(
    batch: Batch,
    onExamined?: (position: number) => void,
  ): AsyncGenerator<FoundRecord> {
    await this.testNames(recordsOfBatch(batch));
    for (const record of recordsOfBatch(batch)) {
      const { position } = this.view.scan(record);
      if (this.passes()) yield await this.linked(record, position);
      onExamined?.(position);
    }
  }

  /**
   * Writes the events of a batch that are wanted and after a position, at most `limit`. Returns how
   * many these are.
   */
  async write(batch: Batch, how: WriteOptions = {}): Promise<number> {
    const { limit = Infinity, after = 0, onExamined } = how;
    let count = 0;
    for await (const { record, link, position } of this.wanted(batch, onExamined)) {
      if (position <= after) continue;
      this.writer.add(record, link);
      if (++count === limit) break;
    }
    this.view.clear();
    return count;
  }

  /** One event, if it is wanted. */
  async one(record: Uint8Array): Promise<FoundRecord | undefined> {
    await this.testNames([record]);
    const { position } = this.view.scan(record);
    return this.passes() ? this.linked(record, position) : undefined;
  }

  /** Has the names tested that the filter does not know. */
  private async testNames(records: Iterable<Uint8Array>): Promise<void> {
    const { filter } = this.options;
    if (filter === undefined) return;
    const unknown = new Set<string>();
    for (const record of records) {
      this.view.scan(record);
      const name = this.filteredName(filter);
      if (filter.pattern.known(name) === undefined) unknown.add(name);
    }
    if (unknown.size > 0) await filter.pattern.test([...unknown]);
  }

  private passes(): boolean {
    const { filter, firstVersion = 0 } = this.options;
    if (this.view.version < firstVersion) return false;
    return filter === undefined || filter.pattern.known(this.filteredName(filter)) === true;
  }

  /** The stream or type of the event, as clients see it. */
  private filteredName({ by }: EventFilter): string {
    const { view } = this;
    if (view.isOfLifecycle) {
      const shown = new RecordView().scan(presentedRecord(view.bytes, false));
      return by === "stream" ? shown.stream : shown.type;
    }
    return by === "stream" ? view.stream : view.type;
  }

  private async linked(record: Uint8Array, position: number): Promise<FoundRecord> {
    const { resolvesLinks, linksOf } = this.options;
    const { view } = this;
    if (linksOf !== undefined) {
      const link = linkTo(view, linksOf);
      return resolvesLinks
        ? { record, link, position }
        : { record: link, link: undefined, position };
    }
    if (!resolvesLinks || view.type !== linkType) return { record, link: undefined, position };
    const target = linkTarget(view.data);
    const isOfAudit = target?.stream === auditStream;
    const found =
      target &&
      !isOfAudit &&
      (await recordOfRevision(this.context, target.stream, target.revision));
    return found === undefined || found === false
      ? { record, link: undefined, position }
      : { record: found, link: record, position };
  }
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

/** A message that is not an event. */
export function readMessage(content: ReadResp["content"]): Uint8Array {
  return toBinary(ReadRespSchema, create(ReadRespSchema, { content }));
}
