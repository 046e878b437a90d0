// What a broken or hostile leader sends is refused by name, and nothing of it is stored: the copy
// stays the exact prefix that it was, and goes on with its true leader afterwards.
import { create } from "@bufbuild/protobuf";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientOf } from "../../src/client/rpc/service-client.ts";
import { Connection } from "../../src/client/rpc/connection.ts";
import { firstEpoch } from "../../src/domain/epoch.ts";
import { ownId } from "../../src/domain/event.ts";
import { composeFrame, recordsIn } from "../../src/domain/record.ts";
import {
  BackupService,
  CopyRequestSchema,
  type CopyBegin,
  type CopyRequest,
} from "../../src/gen/annals/v1/backup_service_pb.js";
import { EpochCause, EpochSchema, FollowerPhase } from "../../src/gen/annals/v1/info_pb.js";
import { seal } from "../../src/storage/leveldb/format/keys.ts";
import {
  composeChunk,
  hashOf,
  openReceived,
  withFrames,
} from "../../src/storage/leveldb/format/chunk.ts";
import { openLevelStore } from "../../src/storage/leveldb/open.ts";
import { sideValueKey } from "../../src/storage/leveldb/write/side-values.ts";
import { backUp } from "../../src/storage/leveldb/offline/backup.ts";
import { restore } from "../../src/storage/leveldb/offline/restore.ts";
import { verifyFolder } from "../../src/storage/leveldb/offline/verify-folder.ts";
import { composeRemovedRecord } from "../../src/storage/removed-record.ts";
import { newEvent, type EventSketch } from "../support/events.ts";
import { startTestServer } from "../support/running-server.ts";
import { clientsOf, copiedIn, liveOn, liveServer, type Lived } from "../support/varied-history.ts";
import { hostileLeader, type HostileLeader, type Script } from "./hostile-leader.ts";

let scratch: string;
let leader: Lived;
let hostile: HostileLeader;
let folder: string;
let begin: CopyBegin;
const takenId = "0190b000-0000-7000-8000-00000000beef";

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-hostile-"));
  folder = join(scratch, "follower");
  leader = await liveServer(join(scratch, "leader"));
  await liveOn(leader.clients, 90, 15);
  const event = { id: takenId, type: "Taken" };
  await leader.clients.store.append({ stream: "taken", events: [event] });
  hostile = await hostileLeader();
  const connection = new Connection({ address: leader.server.address });
  for await (const { message } of clientOf(BackupService, connection).copy({})) {
    if (message.case === "begin") begin = message.value;
  }
  connection.close();
  const { head: last } = await leader.clients.store.getInfo({});
  await followUntil(
    leader.server.address,
    (phase, _, head) => phase === FollowerPhase.FOLLOWING && head === last,
  );
});
afterAll(async () => {
  hostile.stop();
  await leader.stop();
  await rm(scratch, { recursive: true });
});

/** Why the follower is in its phase, once it is in one that is waited for. */
async function followUntil(
  address: string,
  isThere: (phase: FollowerPhase, why: string, head: bigint) => boolean,
): Promise<string> {
  const server = await startTestServer(["--data", folder, "--follow", address]);
  const clients = clientsOf(server.address);
  const begunAt = performance.now();
  try {
    for (;;) {
      const { follower, head } = await clients.store.getInfo({});
      const { phase = FollowerPhase.UNSPECIFIED, why = "" } = follower ?? {};
      if (isThere(phase, why, head)) return why;
      if (performance.now() - begunAt > 30_000) throw new Error(`still in phase ${phase}: ${why}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    clients.close();
    await server.stop();
  }
}

interface Forged extends EventSketch {
  /** Beside the place where the chunk is. */
  readonly position?: number;
  readonly version?: number;
  readonly recordedAt?: number;
  readonly frame?: Uint8Array;
}

/** The next chunk of the log, with one event, and what is asked of it otherwise. */
function forged(request: CopyRequest, sketch: Forged, at: Forged = {}): Uint8Array {
  const now = Date.now() * 1_000 + 10_000_000;
  const place = Number(request.position) + 1 + (at.position ?? 0);
  const position = place + (sketch.position ?? 0);
  const recordedAt = sketch.recordedAt ?? now;
  const event = newEvent({ stream: "forged", ...sketch });
  const id = event.id || ownId(1, position, recordedAt);
  const more = event.id === "" ? { ownId: id } : {};
  const version = sketch.version ?? 1;
  const made = composeFrame(event.body, version, position, recordedAt, more);
  const frame = sketch.frame ?? made;
  const placed = { ...event, id, version, position: place, frame };
  return composeChunk([placed], at.recordedAt ?? recordedAt, request.chain).value;
}

/** The chunk with its events removed, as a removal at a position would have rewritten it. */
function rewrittenBy(recordedIn: number, value: Uint8Array): Uint8Array {
  const chunk = openReceived(value);
  const [record] = recordsIn(chunk.records);
  if (record === undefined) throw new Error("a chunk has a record");
  const frame = composeRemovedRecord(record, false, 1);
  const reclaimed = { recordedIn, originalHash: hashOf(chunk), isEmptied: true };
  return withFrames(chunk, [frame], reclaimed).value;
}

const commits = (more: object) => ({
  case: "commits" as const,
  value: { whole: true, head: 1_000_000n, ...more },
});
const begun = (more: object = {}) => ({ case: "begin" as const, value: { ...begin, ...more } });
/** A leader that introduces itself, and sends such chunks. */
const sending =
  (...chunks: ((request: CopyRequest) => Uint8Array)[]): Script =>
  (request) => [begun(), commits({ chunks: chunks.map((make) => make(request)) })];

function flipped(value: Uint8Array): Uint8Array {
  const bytes = Buffer.from(value);
  bytes[70] = (bytes[70] as number) ^ 1;
  return bytes;
}

const sideKey = (space: "checkpoint" | "copy"): Uint8Array => sideValueKey(space, "x", 1);
const entry = (key: Uint8Array, value: Uint8Array) => ({ key, value: seal(key, value) });
const epochNamed = (epoch: string) =>
  create(EpochSchema, { epoch, afterPosition: 3n, cause: EpochCause.RESTORE });

const start = create(CopyRequestSchema, { chain: new Uint8Array(32) });

const refused: [string, RegExp, Script][] = [
  ["a gap", /after position \d+ comes a chunk/, sending((r) => forged(r, {}, { position: 1 }))],
  [
    "the log from its begin",
    /after position \d+ comes a chunk of positions 1 to 1/,
    () => [begun(), commits({ chunks: [forged(start, {})] })],
  ],
  [
    "a forked chain",
    /the hash chain breaks/,
    sending((r) => forged({ ...r, chain: new Uint8Array(32) }, {})),
  ],
  ["a wrong CRC", /fails its CRC/, sending((r) => flipped(forged(r, {})))],
  ["a cut chunk", /a chunk is cut off/, sending((r) => forged(r, {}).subarray(0, 50))],
  ["bytes that are no chunk", /corrupted|cut off/, sending(() => Buffer.alloc(300, 7))],
  ["an early time", /time runs backwards/, sending((r) => forged(r, { recordedAt: 5 }))],
  [
    "a record of another position",
    /the record at position \d+ disagrees/,
    sending((r) => forged(r, { position: 4 })),
  ],
  [
    "a record of another time",
    /the record at position \d+ disagrees/,
    sending((r) => forged(r, { recordedAt: Date.now() * 2_000 }, { recordedAt: 4e15 })),
  ],
  ["a jump of versions", /version/, sending((r) => forged(r, { version: 7 }))],
  [
    "what is no record",
    /corrupted|framed|disagrees/,
    sending((r) => forged(r, { frame: Buffer.from([0x0a, 3, 0xff, 0xff, 0xff]) })),
  ],
  [
    "an id that is taken",
    /has an id that another event has/,
    sending((r) => forged(r, { id: takenId })),
  ],
  [
    "a lifecycle that cannot be read",
    /lifecycle/,
    sending((r) => forged(r, { stream: "$lifecycle-a", type: "$StreamDeleted", data: "{}" })),
  ],
  [
    "a rewritten chunk without its removal",
    /no removal rewrote/,
    (r) => [begun(), commits({ rewritten: [forged(r, {}, { position: -1 })] })],
  ],
  [
    "a chunk that names a removal beyond the leader's end",
    /positions \d+ to \d+ name a removal at 1000001, and the leader ends at position 1000000/,
    sending((r) => rewrittenBy(1_000_001, forged(r, {}))),
  ],
  [
    "a log that goes on and does not come",
    /says that it has positions \d+ to 1000000, and does not send them/,
    () => [begun(), { case: "progress", value: { head: 1_000_000n } }],
  ],
  [
    "a side value with a wrong CRC",
    /no sound side value/,
    () => [
      begun({ continued: true }),
      commits({ sideValues: [{ key: sideKey("checkpoint"), value: Buffer.alloc(9) }] }),
    ],
  ],
  [
    "what a copy says of itself",
    /no sound side value/,
    () => [begun(), commits({ sideValues: [entry(sideKey("copy"), Buffer.from("{}"))] })],
  ],
  [
    "another end",
    /the log does not end where the leader says/,
    () => [begun(), { case: "state", value: { position: 1n } }],
  ],
  [
    "other side values",
    /are not those of the leader/,
    ({ position, chain }) => [begun(), { case: "state", value: { position, chain } }],
  ],
  ["no introduction", /does not say first, and once/, (r) => sending((x) => forged(x, {}))(r)],
  ["two introductions", /does not say first, and once/, () => [begun(), begun()]],
  ["another store", /it serves store/, () => [begun(otherStore())]],
  ["no epochs", /make no sense/, () => [begun({ epochs: [] })]],
  [
    "an epoch without a name",
    /make no sense/,
    () => [begun({ epochs: [...begin.epochs, epochNamed("../../x")] })],
  ],
  [
    "an epoch that the copy is beyond",
    /its epoch 0123456789abcdef begins after position 3/,
    () => [begun({ epochs: [...begin.epochs, epochNamed("0123456789abcdef")] })],
  ],
  ["a newer format", /has format version 9/, () => [begun({ formatVersion: 9 })]],
];

function otherStore(): object {
  const storeId = "0190a000-1111-7000-8000-00000000a11a";
  const [first] = begin.epochs;
  const id = storeId.replaceAll("-", "").slice(0, 16);
  return { storeId, epochs: [{ ...first, epoch: id }] };
}

describe("a follower refuses", () => {
  test.each(refused)("%s", async (name, words, script) => {
    const before = await copiedIn(folder);
    // Without its introduction, the rest of a script is sent alone.
    hostile.script = (request) =>
      name === "no introduction" ? [...script(request)].slice(1) : script(request);
    const why = await followUntil(hostile.address, (phase) => phase === FollowerPhase.REFUSED);
    expect(why).toMatch(words);
    expect(await copiedIn(folder)).toEqual(before);
  });
});

describe("a copy that a leader keeps from being whole", () => {
  test("says how far it is behind, and has all that it had when it is restored up to there", async () => {
    const own = join(scratch, "kept");
    await cp(folder, own, { recursive: true });
    const before = await verifyFolder(own);
    hostile.script = sending((r) => rewrittenBy(1_000_000, forged(r, {})));
    const server = await startTestServer(["--data", own, "--follow", hostile.address]);
    const clients = clientsOf(server.address);
    let { follower } = await clients.store.getInfo({});
    // It copies before it has heard where the leader's head is.
    while (follower?.phase !== FollowerPhase.COPYING || follower.lagEvents === 0n) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      ({ follower } = await clients.store.getInfo({}));
    }
    expect(follower.lagEvents).toBeGreaterThan(999_000n);
    await expect(clients.store.getStream({ stream: "taken" })).rejects.toThrow("not whole");
    clients.close();
    await server.stop();
    const backup = join(scratch, "kept-backup");
    await backUp({ store: own, target: backup });
    const target = join(scratch, "kept-restored");
    const to = { position: before.head?.position ?? 0 };
    await restore({ backup, target, to, withoutProgress: true });
    const { findings, headHash } = await verifyFolder(target);
    expect({ findings, headHash }).toEqual({ findings: [], headHash: before.headHash });
  });
});

describe("a follower lets go of", () => {
  const disconnected = (phase: FollowerPhase, why: string): boolean =>
    phase === FollowerPhase.DISCONNECTED && why !== "not connected yet";
  test.each<[string, RegExp, Script]>([
    ["bytes that are no message", /./, () => [Buffer.from([0xff, 0xff, 0xff])]],
    [
      "a message of eight megabytes",
      /larger than max/,
      () => [begun(), commits({ chunks: [Buffer.alloc(8 << 20)] })],
    ],
  ])("%s", async (_, words, script) => {
    const before = await copiedIn(folder);
    hostile.script = script;
    expect(await followUntil(hostile.address, disconnected)).toMatch(words);
    expect(await copiedIn(folder)).toEqual(before);
  });

  test("a commit without an end, within its memory", async () => {
    const { storeId } = begin;
    const history = [firstEpoch(storeId, 1)] as const;
    const store = { storeId, createdAt: 1, formatVersion: 1, history };
    const copy = join(scratch, "endless");
    const options = { folder: copy, reserveBytes: 0, copied: async () => store };
    const { storage, target } = await openLevelStore(options);
    const all = { ...store, time: 1, head: 9, isContinued: false };
    await target?.receive({ kind: "begin", store: all });
    const value = entry(sideKey("checkpoint"), Buffer.alloc(1 << 20, 1));
    const more = { chunks: [], rewritten: [], sideValues: [value], head: 9 };
    const receive = async (): Promise<void> => {
      for (let i = 0; i < 1_000; i++) {
        await target?.receive({ kind: "commits", commits: { ...more, isWhole: false } });
      }
    };
    await expect(receive()).rejects.toThrow("a commit does not end");
    expect(storage.head().position).toBe(0);
    await storage.close();
    expect(await copiedIn(copy)).toEqual([]);
  });

  test("and follows its true leader after all of that", async () => {
    await liveOn(leader.clients, 91, 10);
    const { head: last } = await leader.clients.store.getInfo({});
    await followUntil(
      leader.server.address,
      (phase, _, head) => phase === FollowerPhase.FOLLOWING && head === last,
    );
    expect(await copiedIn(folder)).toEqual(await copiedIn(join(scratch, "leader")));
    expect((await verifyFolder(folder)).findings).toEqual([]);
  });
});
