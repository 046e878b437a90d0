// `annals verify`: checks that everything is there and as it was written. It checks a store's
// folder, even while a server has it open, or in a database, or a backup, or the answers of a
// server.

import { findingLines } from "./findings.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { BackupContents } from "../../storage/leveldb/offline/backup-read.ts";
import { options as serverOptions } from "../../options.ts";
import type { DatabaseReport } from "../../storage/postgres/verify.ts";
import type { FolderReport } from "../../storage/leveldb/offline/verify-folder.ts";
import { printAnswer } from "../connection/answer.ts";
import { counted, grouped } from "../output/display.ts";
import {
  connectionOptions,
  exitCode,
  jsonOption,
  parse,
  UsageError,
} from "../arguments/options.ts";
import { positionProgress } from "../output/progress.ts";
import { withSession } from "../connection/session.ts";
import { say, type Terminal } from "../output/terminal.ts";
import { isAddress } from "./address.ts";
import { verifyServer, type ServerReport } from "./verify-server.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  scratch: { type: "string" },
  storage: { type: "string" },
  "storage-schema": { type: "string" },
} as const;

/** Prints the findings. The exit code is 0 only if there are none. */
export async function verify(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [named] = positionals;
  const server = named === undefined || isAddress(named) ? (named ?? values.address) : undefined;
  const folder = named === server ? undefined : named;
  const progress = positionProgress(terminal, "verified");
  const tell = (position: number, last: number): void => progress.tell(position, last);
  const context = { progress: tell, signal: terminal.signal };
  let facts: readonly [string, string][];
  let findings: readonly string[] = [];
  let json: object;
  try {
    if (values.storage !== undefined) {
      if (named !== undefined) throw new UsageError("--storage: there is something else to verify");
      const { verifyDatabase } = await import("../../storage/postgres/verify.ts");
      const schema = values["storage-schema"] ?? serverOptions.storageSchema.initial;
      const report = await verifyDatabase(values.storage, schema, context);
      ({ findings } = report);
      [facts, json] = [factsOfDatabase(report), report];
    } else if (folder === undefined) {
      const address = { ...values, address: server };
      const report = await withSession(address, terminal, (session) => verifyServer(session, tell));
      ({ findings } = report);
      [facts, json] = [factsOfServer(report), report];
    } else if (["BACKUP", "UNFINISHED"].some((name) => existsSync(join(folder, name)))) {
      const { checkBackup } = await import("../../storage/leveldb/offline/backup-read.ts");
      const contents = await checkBackup(folder, context);
      [facts, json] = [factsOfBackup(contents), contents];
    } else {
      const { verifyFolder } = await import("../../storage/leveldb/offline/verify-folder.ts");
      const report = await verifyFolder(folder, { ...context, scratch: values.scratch });
      ({ findings } = report);
      [facts, json] = [factsOfFolder(report), report];
    }
  } finally {
    await progress.end();
  }
  const verdict = findings.length === 0 ? "sound" : "NOT SOUND";
  if (values.json !== true) {
    for (const line of findingLines(findings)) await say(terminal.output, `found: ${line}`);
  }
  const object = { sound: findings.length === 0, ...json };
  await printAnswer(terminal, values, object, [["verdict", verdict], ...facts]);
  return findings.length === 0 ? exitCode.ok : exitCode.failure;
}

function factsOfFolder(report: FolderReport): [string, string][] {
  const { storeId, epoch, head, headHash, totals, tables } = report;
  const facts: [string, string][] = [
    ["store", storeId],
    ["epoch", epoch],
    ["head", head === undefined ? "unreadable" : grouped(head.position)],
  ];
  if (totals === undefined || headHash === undefined) return facts;
  const { events, chunks, terms, postings, ids, snapshots, sideValues } = totals;
  return [
    ...facts,
    [
      "log",
      `${counted(events, "event")} in ${counted(chunks, "chunk")}, ${counted(tables, "table")}`,
    ],
    ["index", `${counted(terms, "term")}, ${counted(postings, "posting")}, ${counted(ids, "id")}`],
    ["other", `${counted(snapshots, "snapshot")}, ${counted(sideValues, "side value")}`],
    ["chain", headHash],
  ];
}

function factsOfDatabase(report: DatabaseReport): [string, string][] {
  const { storeId, epoch, head, chain, events, removedRecords, sideValues } = report;
  const { streams, types, tags } = report;
  return [
    ["store", storeId],
    ["epoch", epoch],
    ["head", grouped(head)],
    ["log", `${counted(events, "event")}, of them ${counted(removedRecords, "removed record")}`],
    ["index", `${counted(streams, "stream")}, ${counted(types, "type")}, ${counted(tags, "tag")}`],
    ["other", counted(sideValues, "side value")],
    ["chain", chain],
  ];
}

function factsOfBackup({ storeId, epoch, takenAt, head, chain, chunks }: BackupContents) {
  const facts: [string, string][] = [
    ["backup of", `${storeId}, taken ${takenAt}`],
    ["epoch", epoch],
    ["head", `${grouped(head)} in ${counted(chunks, "chunk")}`],
    ["chain", chain],
  ];
  return facts;
}

function factsOfServer(report: ServerReport) {
  const { storeId, head, events, removedEvents, systemEvents, streams, types } = report;
  const facts: [string, string][] = [
    ["store", storeId],
    ["head", grouped(head)],
    ["read", counted(events, "event")],
    [
      "other",
      `${counted(removedEvents, "removed event")}, ${counted(systemEvents, "system event")}`,
    ],
    ["compared", `${counted(streams, "stream")}, ${counted(types, "event type")}`],
  ];
  return facts;
}
