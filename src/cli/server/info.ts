// `annals info`: prints the server's answer to GetInfo.

import { toJson } from "@bufbuild/protobuf";
import {
  Durability,
  FollowerPhase,
  EpochCause,
  GetInfoResponseSchema,
  ReclaimPhase,
  WriteState,
  type GetInfoResponse,
} from "../../gen/annals/v1/info_pb.js";
import { byteCount, counted, grouped } from "../output/display.ts";
import { printAnswer } from "../connection/answer.ts";
import { connectionOptions, jsonOption, parse } from "../arguments/options.ts";
import { withSession } from "../connection/session.ts";
import type { Terminal } from "../output/terminal.ts";
import { isoTime } from "../arguments/time.ts";

const options = { ...connectionOptions, ...jsonOption } as const;

/** Prints version, head, durability and limits. */
export async function info(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values } = parse(args, options, { min: 0, max: 0 });
  const { address, answer } = await withSession(values, terminal, async (session) => ({
    address: session.address,
    answer: await session.store.getInfo({}, session.once),
  }));
  const json = toJson(GetInfoResponseSchema, answer) as object;
  await printAnswer(terminal, values, json, factsOf(answer, address));
  return 0;
}

function factsOf(answer: GetInfoResponse, address: string): [string, string][] {
  const { limits } = answer;
  const facts: [string, string][] = [
    [
      "server",
      `annals ${answer.serverVersion} at ${address}, up since ${isoTime(answer.startedAt)}`,
    ],
    ["store", `${answer.storeId}, created ${isoTime(answer.createdAt)}`],
    ["engine", `${answer.engine}, format ${answer.formatVersion}`],
    ["durability", word(Durability[answer.durability])],
    ["writes", word(WriteState[answer.writeState])],
    ["head", grouped(answer.head)],
    ...followerFacts(answer),
    ["epoch", epochText(answer)],
    ["subscribers", grouped(answer.subscriberCount)],
    ["reclaiming", reclaimText(answer)],
  ];
  if (limits === undefined) return facts;
  const append = `${byteCount(limits.appendBytesMax)}, ${counted(limits.appendEventsMax, "event")}`;
  return [
    ...facts,
    ["largest event", byteCount(limits.eventBytesMax)],
    ["largest append", append],
    ["largest snapshot", byteCount(limits.snapshotBytesMax)],
  ];
}

function followerFacts({ follower }: GetInfoResponse): [string, string][] {
  if (follower === undefined) return [];
  const { leader, phase, why, lagEvents, lag } = follower;
  const seconds = Number(lag?.seconds ?? 0n) + (lag?.nanos ?? 0) / 1e9;
  const behind = `${counted(Number(lagEvents), "event")} and ${seconds.toFixed(1)} s behind`;
  const state = `${word(FollowerPhase[phase])} ${leader}, ${behind}`;
  return [["copy", why === "" ? state : `${state}: ${why}`]];
}

/** The present epoch, and those before it. */
function epochText({ epoch, epochs }: GetInfoResponse): string {
  const now = epochs.at(-1);
  if (now === undefined || epochs.length === 1) return epoch;
  const before = `${counted(epochs.length - 1, "epoch")} before`;
  const cause = word(EpochCause[now.cause]);
  return `${epoch}, after position ${grouped(now.afterPosition)} (${cause}); ${before}`;
}

function reclaimText({ reclaiming }: GetInfoResponse): string {
  if (reclaiming === undefined) return "off";
  const { phase, events, bytesFreed } = reclaiming;
  const freed = `${counted(events, "event")}, ${byteCount(bytesFreed)} so far`;
  return `${word(ReclaimPhase[phase])}; ${freed}`;
}

function word(name: string | undefined): string {
  return (name ?? "unknown").toLowerCase().replaceAll("_", " ");
}
