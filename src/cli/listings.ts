// What there is: `annals streams`, `stream`, `types`, `snapshots`.

import type { EventTypeInfo, StreamInfo } from "../gen/annals/v1/info_pb.js";
import type { Snapshot } from "../gen/annals/v1/snapshot_pb.js";
import { grouped } from "./display.ts";
import { connectionOptions, jsonOption, parse } from "./options.ts";
import { withSession, type ConnectionValues, type Session } from "./session.ts";
import { pairsOf, tableOn, type Column } from "./table.ts";
import { print, type Terminal } from "./terminal.ts";
import { isoTime } from "./time.ts";

const options = { ...connectionOptions, ...jsonOption } as const;
const pageSize = 1_000;

interface Listing<Row> {
  readonly columns: readonly Column[];
  cells(row: Row): string[];
  json(row: Row): object;
  page(session: Session, pageToken: string): Promise<{ rows: Row[]; nextPageToken: string }>;
}

/** Prints page by page: a store may have more streams than fit into memory. */
async function list<Row>(
  values: ConnectionValues & { readonly json?: boolean | undefined },
  terminal: Terminal,
  listing: Listing<Row>,
): Promise<number> {
  const table = tableOn(terminal.output, terminal, listing.columns);
  const text = (rows: readonly Row[]) =>
    values.json === true
      ? rows.map((row) => `${JSON.stringify(listing.json(row))}\n`).join("")
      : table(rows.map((row) => listing.cells(row)));
  await withSession(values, terminal, async (session) => {
    let token = "";
    do {
      const { rows, nextPageToken } = await listing.page(session, token);
      await print(terminal.output, text(rows));
      token = nextPageToken;
    } while (token !== "");
  });
  return 0;
}

/** All streams, or those that begin with a prefix. */
export function streams(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [prefix = ""] = positionals;
  return list(values, terminal, {
    columns: [
      { title: "STREAM", side: "left", columnsMax: 48 },
      { title: "VERSION", side: "right" },
      { title: "EVENTS", side: "right" },
      { title: "LAST POSITION", side: "right" },
      { title: "LAST RECORDED AT", side: "left" },
    ],
    cells: (row) => [
      row.stream,
      String(row.version),
      String(row.eventCount),
      String(row.lastPosition),
      isoTime(row.lastRecordedAt),
    ],
    json: streamJson,
    page: async ({ store, once }, pageToken) => {
      const page = await store.listStreams({ prefix, pageSize, pageToken }, once);
      return { rows: page.streams, nextPageToken: page.nextPageToken };
    },
  });
}

function streamJson(row: StreamInfo): object {
  return {
    stream: row.stream,
    version: Number(row.version),
    eventCount: Number(row.eventCount),
    firstPosition: Number(row.firstPosition),
    lastPosition: Number(row.lastPosition),
    firstRecordedAt: isoTime(row.firstRecordedAt),
    lastRecordedAt: isoTime(row.lastRecordedAt),
    subscriberCount: row.subscriberCount,
  };
}

/** One stream, in numbers. */
export async function stream(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const answer = await withSession(values, terminal, ({ store, once }) =>
    store.getStream({ stream: name }, once),
  );
  const { stream: info } = answer;
  if (info === undefined) return 1;
  const text =
    values.json === true
      ? `${JSON.stringify(streamJson(info))}\n`
      : pairsOf([
          ["stream", info.stream],
          ["version", grouped(info.version)],
          ["events", grouped(info.eventCount)],
          ["first", `position ${info.firstPosition}, ${isoTime(info.firstRecordedAt)}`],
          ["last", `position ${info.lastPosition}, ${isoTime(info.lastRecordedAt)}`],
          ["subscribers", grouped(info.subscriberCount)],
        ]);
  await print(terminal.output, text);
  return 0;
}

/** All event types, or those that begin with a prefix. */
export function types(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [prefix = ""] = positionals;
  return list<EventTypeInfo>(values, terminal, {
    columns: [
      { title: "TYPE", side: "left", columnsMax: 60 },
      { title: "EVENTS", side: "right" },
      { title: "FIRST POSITION", side: "right" },
      { title: "LAST POSITION", side: "right" },
    ],
    cells: (row) => [
      row.type,
      String(row.eventCount),
      String(row.firstPosition),
      String(row.lastPosition),
    ],
    json: (row) => ({
      type: row.type,
      eventCount: Number(row.eventCount),
      firstPosition: Number(row.firstPosition),
      lastPosition: Number(row.lastPosition),
    }),
    page: async ({ store, once }, pageToken) => {
      const page = await store.listEventTypes({ prefix, pageSize, pageToken }, once);
      return { rows: page.eventTypes, nextPageToken: page.nextPageToken };
    },
  });
}

/** A stream's snapshots, without their state. */
export function snapshots(args: readonly string[], terminal: Terminal): Promise<number> {
  const known = { ...options, kind: { type: "string" } } as const;
  const { values, positionals } = parse(args, known, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const { kind } = values;
  return list<Snapshot>(values, terminal, {
    columns: [
      { title: "KIND", side: "left", columnsMax: 40 },
      { title: "VERSION", side: "right" },
      { title: "POSITION", side: "right" },
      { title: "SAVED AT", side: "left" },
      { title: "CONTENT TYPE", side: "left" },
    ],
    cells: (row) => [
      row.kind === "" ? "(default)" : row.kind,
      String(row.version),
      String(row.position),
      isoTime(row.savedAt),
      row.contentType,
    ],
    json: (row) => ({
      stream: row.stream,
      kind: row.kind,
      version: Number(row.version),
      position: Number(row.position),
      savedAt: isoTime(row.savedAt),
      contentType: row.contentType,
      metadata: row.metadata,
    }),
    page: async ({ store, once }, pageToken) => {
      const page = await store.listSnapshots(
        { stream: name, pageSize, pageToken, ...(kind === undefined ? {} : { kind }) },
        once,
      );
      return { rows: page.snapshots, nextPageToken: page.nextPageToken };
    },
  });
}
