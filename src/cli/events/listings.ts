// The commands that list: `annals streams`, `stream`, `types` and `snapshots`.

import type { EventTypeInfo, StreamInfo } from "../../gen/annals/v1/info_pb.js";
import type { Snapshot } from "../../gen/annals/v1/snapshot_pb.js";
import { grouped } from "../output/display.ts";
import { connectionOptions, jsonOption, parse } from "../arguments/options.ts";
import { pageSize, printAnswer, printList } from "../connection/answer.ts";
import {
  deleteStream,
  policyJson,
  policyText,
  lifecycleName,
  updateStream,
} from "./stream-changes.ts";
import { withSession } from "../connection/session.ts";
import type { Terminal } from "../output/terminal.ts";
import { isoTime } from "../arguments/time.ts";

const options = { ...connectionOptions, ...jsonOption } as const;

/** Lists streams, all or those with a prefix, or changes one stream. */
export function streams(args: readonly string[], terminal: Terminal): Promise<number> {
  const [first, ...rest] = args;
  // A word like `update` without further arguments is a prefix to list.
  const names = rest.some((each) => !each.startsWith("-"));
  if (first === "update" && names) return updateStream(rest, terminal);
  if (first === "delete" && names) return deleteStream(rest, terminal);
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [prefix = ""] = positionals;
  return printList(values, terminal, {
    columns: [
      { title: "STREAM", side: "left", columnsMax: 48 },
      { title: "VERSION", side: "right" },
      { title: "EVENTS", side: "right" },
      { title: "LAST POSITION", side: "right" },
      { title: "LAST RECORDED AT", side: "left" },
      { title: "FIRST VERSION", side: "right", isExtra: true },
      { title: "FIRST POSITION", side: "right", isExtra: true },
      { title: "FIRST RECORDED AT", side: "left", isExtra: true },
      { title: "STATE", side: "left" },
      { title: "KEEPS", side: "left", isExtra: true },
    ],
    cells: (row) => [
      row.stream,
      String(row.version),
      String(row.eventCount),
      String(row.lastPosition),
      isoTime(row.lastRecordedAt),
      String(row.firstVersion),
      String(row.firstPosition),
      isoTime(row.firstRecordedAt),
      lifecycleName(row),
      policyText(row.policy),
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
    firstVersion: Number(row.firstVersion),
    firstPosition: Number(row.firstPosition),
    lastPosition: Number(row.lastPosition),
    firstRecordedAt: isoTime(row.firstRecordedAt),
    lastRecordedAt: isoTime(row.lastRecordedAt),
    subscriberCount: row.subscriberCount,
    state: lifecycleName(row),
    policy: policyJson(row.policy),
  };
}

/** Shows one stream. */
export async function stream(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const answer = await withSession(values, terminal, ({ store, once }) =>
    store.getStream({ stream: name }, once),
  );
  const { stream: info } = answer;
  if (info === undefined) return 1;
  await printAnswer(terminal, values, streamJson(info), [
    ["stream", info.stream],
    ["version", grouped(info.version)],
    ["events", grouped(info.eventCount)],
    ...placesOf(info),
    ["subscribers", grouped(info.subscriberCount)],
    ["state", lifecycleName(info)],
    ["keeps", policyText(info.policy)],
    ...labelsOf(info),
  ]);
  return 0;
}

function placesOf(info: StreamInfo): [string, string][] {
  if (info.eventCount === 0n) return [];
  const { firstPosition, lastPosition } = info;
  return [
    [
      "first",
      `version ${info.firstVersion}, position ${firstPosition}, ${isoTime(info.firstRecordedAt)}`,
    ],
    ["last", `position ${lastPosition}, ${isoTime(info.lastRecordedAt)}`],
  ];
}

function labelsOf({ policy }: StreamInfo): [string, string][] {
  const labels = Object.entries(policy?.labels ?? {});
  return labels.map(([key, value]) => ["label", `${key}=${value}`]);
}

/** Lists event types, all or those with a prefix. */
export function types(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [prefix = ""] = positionals;
  return printList<EventTypeInfo>(values, terminal, {
    columns: [
      { title: "TYPE", side: "left", columnsMax: 60 },
      { title: "RECORDED", side: "right" },
      { title: "FIRST POSITION", side: "right" },
      { title: "LAST POSITION", side: "right" },
    ],
    cells: (row) => [
      row.type,
      String(row.recordedCount),
      String(row.firstPosition),
      String(row.lastPosition),
    ],
    json: (row) => ({
      type: row.type,
      recordedCount: Number(row.recordedCount),
      firstPosition: Number(row.firstPosition),
      lastPosition: Number(row.lastPosition),
    }),
    page: async ({ store, once }, pageToken) => {
      const page = await store.listEventTypes({ prefix, pageSize, pageToken }, once);
      return { rows: page.eventTypes, nextPageToken: page.nextPageToken };
    },
  });
}

/** Lists a stream's snapshots, without their states. */
export function snapshots(args: readonly string[], terminal: Terminal): Promise<number> {
  const known = { ...options, kind: { type: "string" } } as const;
  const { values, positionals } = parse(args, known, { min: 1, max: 1 });
  const [name = ""] = positionals;
  const { kind } = values;
  return printList<Snapshot>(values, terminal, {
    columns: [
      { title: "KIND", side: "left", columnsMax: 40 },
      { title: "VERSION", side: "right" },
      { title: "POSITION", side: "right" },
      { title: "SAVED AT", side: "left" },
      { title: "CONTENT TYPE", side: "left" },
      { title: "KEY=VALUE", side: "left", isExtra: true },
    ],
    cells: (row) => [
      row.kind === "" ? "(default)" : row.kind,
      String(row.version),
      String(row.position),
      isoTime(row.savedAt),
      row.contentType,
      Object.entries(row.metadata)
        .map((entry) => entry.join("="))
        .join(" "),
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
