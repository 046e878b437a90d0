// The workload whose every system call is tried: a new store, appends of one event and of many, to
// one and to several streams, with expectations and sent twice, and a snapshot.
import { fromBinary, create, toBinary } from "@bufbuild/protobuf";
import { AppendResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { SaveSnapshotRequestSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import type { Shape } from "../support/content.ts";
import type { History } from "../support/history.ts";
import type { Checks, Op } from "../support/op.ts";
import { WireClient } from "../support/wire-client.ts";

const writer = 1;
const triesMax = 40;
const retryMs = 50;
/** Nothing is known, or nothing was stored and it may be tried again. */
const passing = new Set([4, 8, 13, 14]);

interface Step {
  readonly shape: Shape;
  readonly expects?: string;
}

const small = { type: "Opened", tags: ["a:1"], count: 1, bytesMax: 100 };
const steps: readonly Step[] = [
  { shape: { ...small, streams: ["a-1"] } },
  { shape: { ...small, streams: ["a-1"] }, expects: "a-1" },
  { shape: { ...small, streams: ["a-2", "b-1"], count: 40 } },
  { shape: { ...small, streams: ["b-1"], bytesMax: 60_000 } },
  { shape: { ...small, streams: ["a-1", "a-2", "c-3"], count: 500, tags: [] } },
  { shape: { ...small, streams: ["a-2"] }, expects: "a-2" },
];

/**
 * Runs the steps, or sends these again. Answers the appends whose outcome is not known; gives up
 * where the server is gone or refuses for long.
 */
export async function runScript(
  history: History,
  port: number,
  again?: readonly Op[],
): Promise<readonly Op[]> {
  const ops = again ?? steps.map((step) => begin(history, step));
  const unsettled: Op[] = [];
  for (const op of ops)
    if (!(await settle(history, port, op, again ? triesMax : 2))) unsettled.push(op);
  if (again === undefined) await saveSnapshot(port);
  return unsettled;
}

/** Versions as they will be, each step having worked. */
function begin(history: History, { shape, expects }: Step): Op {
  const version = versions.get(history) ?? new Map<string, number>();
  versions.set(history, version);
  const checks: Checks =
    expects === undefined
      ? {}
      : { expectations: [{ stream: expects, version: version.get(expects) ?? 0 }] };
  const op = history.begin(writer, shape, checks);
  shape.streams.forEach((stream, i) => {
    version.set(stream, (version.get(stream) ?? 0) + op.eventsIn(i));
  });
  return op;
}

const versions = new WeakMap<History, Map<string, number>>();

async function settle(history: History, port: number, op: Op, tries: number): Promise<boolean> {
  for (let i = 0; i < tries; i++) {
    const client = await WireClient.open(port).catch(() => undefined);
    if (client === undefined) return false;
    history.sent(op);
    const { answer, ended } = await client.unary("Append", op.request());
    client.close();
    if (answer !== undefined) {
      history.acknowledged(op, fromBinary(AppendResponseSchema, answer));
      return true;
    }
    // Where a step before it was not stored, what it expects does not hold.
    if (ended.status === 10) {
      history.conflicted(op, ended.conflict);
      return true;
    }
    if (!passing.has(ended.status)) {
      history.violate(`${op.name} failed with ${ended.status}: ${ended.message}`);
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
  return false;
}

/** It may fail: a snapshot is no more than a cache. */
async function saveSnapshot(port: number): Promise<void> {
  const client = await WireClient.open(port).catch(() => undefined);
  const request = create(SaveSnapshotRequestSchema, {
    stream: "a-1",
    version: 1n,
    state: { case: "data", value: Buffer.from("state") },
  });
  await client?.unary("SaveSnapshot", toBinary(SaveSnapshotRequestSchema, request));
  client?.close();
}
