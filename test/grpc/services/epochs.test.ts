// Epochs over the wire: every answer with a position names its epoch, and every request with one is
// refused by name where the position is of another history. The store is restored from a backup that
// was taken after position 4 of 9, and went on to position 12.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { EpochCause } from "../../../src/gen/annals/v1/info_pb.js";
import { Direction } from "../../../src/gen/annals/v1/read_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { backUp } from "../../../src/storage/leveldb/offline/backup.ts";
import { restore } from "../../../src/storage/leveldb/offline/restore.ts";
import { collect, type Failed } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

const { append, appendPipe, getInfo, load, read, subscribe, saveSnapshot } =
  EventStoreService.method;
const { saveCheckpoint, getCheckpoint, listCheckpoints, waitFor } = CheckpointService.method;
const { createGroup, getGroup, resetGroup } = ConsumerGroupService.method;
const { updateStream, deleteStream } = StreamService.method;

let scratch: string;
let server: TestServer;
let first: string;
let epoch: string;
/** Ids of events that only the first epoch has. */
const lostId = "018f0000-0000-7000-8000-000000000abc";
const keptId = "018f0000-0000-7000-8000-000000000abd";

const event = (stream: string, id = "") => ({ stream, type: "Added", id });
const unknown = "fedcba9876543210";

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-epochs-"));
  const [store, backup, target] = ["store", "backup", "target"].map((name) => join(scratch, name));
  server = await startTestServer(["--data", store as string]);
  await server.calls.unary(append, { stream: "a", events: [event("a", keptId), event("b")] });
  await server.calls.unary(append, { stream: "a", events: [event("a"), event("b")] });
  await server.calls.unary(saveCheckpoint, { consumer: "early", position: 3n });
  await server.calls.unary(createGroup, { name: "kept" });
  await backUp({ store: store as string, target: backup as string });
  await server.calls.unary(append, { stream: "a", events: Array(4).fill(event("a")) });
  await server.calls.unary(append, { stream: "c", events: [event("c", lostId)] });
  first = (await server.calls.unary(getInfo, {})).epoch;
  await server.stop();
  await restore({ backup: backup as string, target: target as string });
  server = await startTestServer(["--data", target as string]);
  ({ epoch } = await server.calls.unary(getInfo, {}));
  for (const stream of ["a", "b"]) {
    await server.calls.unary(append, { stream, events: Array(4).fill(event(stream)) });
  }
});
afterAll(async () => {
  await server.stop();
  await rm(scratch, { recursive: true });
});

/** Refused because position 7 or the event there was read in the first epoch. */
function expectMismatch(failed: Failed, field: string, asked: number, askedEpoch = first): void {
  const shared = askedEpoch === first ? { shared_through: "4" } : {};
  expect(failed).toMatchObject({ code: 9, reason: "EPOCH_MISMATCH" });
  expect(failed.info).toEqual({
    field,
    asked: `${asked}`,
    asked_epoch: askedEpoch,
    epoch,
    ...shared,
  });
  for (const named of [askedEpoch, epoch]) expect(failed.message).toContain(named);
}

describe("the answers of a restored store", () => {
  test("say which epoch it is in, and what came before", async () => {
    const info = await server.calls.unary(getInfo, {});
    expect(info.epochs.map((one) => [one.epoch, one.afterPosition, one.cause])).toEqual([
      [first, 0n, EpochCause.CREATION],
      [info.epoch, 4n, EpochCause.RESTORE],
    ]);
    expect(info.epoch).toMatch(/^[0-9a-f]{16}$/);
    expect(first).toBe(info.storeId.replaceAll("-", "").slice(0, 16));
  });

  test("name it in the first message and the end of a read, and in a load's end", async () => {
    const messages = await collect(server.calls.stream(read, {}));
    expect(messages.at(0)).toMatchObject({ epoch, message: { case: "batch" } });
    expect(messages.at(-1)).toMatchObject({ epoch, message: { case: "end" } });
    const [end] = await collect(server.calls.stream(load, { stream: "none" }));
    expect(end).toMatchObject({ message: { case: "end", value: { epoch } } });
  });

  test("name it in the first message of a subscription, and in each about progress", async () => {
    const said: string[] = [];
    const request = { checkpointInterval: { nanos: 100_000_000 }, batchEventsMax: 5 };
    for await (const message of server.calls.stream(subscribe, request)) {
      said.push(`${message.message.case} ${message.epoch}`);
      if (message.message.case === "checkpoint") break;
    }
    expect(said.at(0)).toBe(`batch ${epoch}`);
    expect(said.slice(1).filter((one) => one.startsWith("batch"))).toContain("batch ");
    expect(said.slice(-2)).toEqual([`caughtUp ${epoch}`, `checkpoint ${epoch}`]);
  });

  test("name it in appends, checkpoints and groups", async () => {
    const kept = { stream: "a", events: [event("a", keptId), event("b")] };
    await expect(server.calls.unary(append, kept)).rejects.toThrow("others of this append");
    const pipe = server.calls.pipe(appendPipe);
    const id = "018f0000-0000-7000-8000-00000000abcf";
    pipe.send({ append: { stream: "p", events: [event("p", id)] } });
    const piped = (await pipe.answers.next()).value;
    expect(piped).toMatchObject({ outcome: { value: { epoch } } });
    pipe.end();
    const again = await server.calls.unary(append, { stream: "p", events: [event("p", id)] });
    expect(again).toMatchObject({ epoch, deduplicated: true });
    const saved = await server.calls.unary(saveCheckpoint, { consumer: "now", position: 6n });
    expect(saved.checkpoint).toMatchObject({ epoch, position: 6n });
    const { checkpoints } = await server.calls.unary(listCheckpoints, {});
    expect(checkpoints.map((one) => [one.consumer, one.epoch])).toEqual([
      ["early", first],
      ["now", epoch],
    ]);
    expect((await server.calls.unary(getGroup, { name: "kept" })).group).toMatchObject({ epoch });
    const waited = { who: { case: "consumer", value: "now" }, position: 5n } as const;
    expect(await server.calls.unary(waitFor, waited)).toMatchObject({ epoch, position: 6n });
  });
});

describe("what was read in the first epoch, beyond what both share", () => {
  test("is refused where a subscription or a read would go on", async () => {
    const after = { case: "afterPosition", value: 7n } as const;
    const { calls } = server;
    expectMismatch(
      await calls.failure(subscribe, { start: after, epoch: first }),
      "after_position",
      7,
    );
    const version = { case: "afterVersion", value: 3n } as const;
    const ofStream = { selection: { case: "stream", value: "a" }, epoch: first } as const;
    expectMismatch(
      await calls.failure(subscribe, { ...ofStream, start: version }),
      "after_version",
      3,
    );
    const from = { case: "fromPosition", value: 6n } as const;
    expectMismatch(await calls.failure(read, { from, epoch: first }), "from_position", 5);
    const fromVersion = { case: "fromVersion", value: 4n } as const;
    expectMismatch(
      await calls.failure(read, { ...ofStream, from: fromVersion }),
      "from_version",
      3,
    );
    const backwards = { direction: Direction.BACKWARDS, from: { ...from, value: 5n } };
    expectMismatch(await calls.failure(read, { ...backwards, epoch: first }), "from_position", 5);
    const to = { case: "toPosition", value: 5n } as const;
    expectMismatch(await calls.failure(read, { to, epoch: first }), "to_position", 5);
  });

  test("is refused where a decision relies on it, and nothing is stored", async () => {
    const { calls } = server;
    const { head } = await calls.unary(getInfo, {});
    const events = [event("a")];
    const conditions = [{ query: { items: [{ types: ["None"] }] }, after: 7n }];
    expectMismatch(
      await calls.failure(append, { stream: "a", events, conditions, epoch: first }),
      "conditions[0].after",
      7,
    );
    const expected = { case: "expectedVersion", value: 6n } as const;
    expectMismatch(
      await calls.failure(append, { stream: "a", events, expected, epoch: first }),
      "expected version of a",
      6,
    );
    const pipe = calls.pipe(appendPipe);
    pipe.send({ append: { stream: "a", events, expected, epoch: first } });
    expect((await pipe.answers.next()).value).toMatchObject({
      outcome: { case: "failure", value: { code: 9 } },
    });
    pipe.end();
    const checkpoint = { consumer: "x", position: 7n, epoch: first };
    expectMismatch(
      await calls.failure(append, { stream: "a", events, checkpoint }),
      "checkpoint.position",
      7,
    );
    const snapshot = { stream: "a", version: 6n, state: { case: "data", value: Buffer.from("x") } };
    expectMismatch(
      await calls.failure(saveSnapshot, { ...snapshot, epoch: first } as never),
      "version",
      6,
    );
    const change = { stream: "a", expected, epoch: first };
    expectMismatch(await calls.failure(deleteStream, change), "expected_version", 6);
    const policy = { truncateBefore: 4n };
    expectMismatch(
      await calls.failure(updateStream, { stream: "a", policy, epoch: first }),
      "policy.truncate_before",
      3,
    );
    expect((await calls.unary(getInfo, {})).head).toBe(head);
  });

  test("is refused where progress is saved, waited for, or the start of a group", async () => {
    const { calls } = server;
    const saved = { consumer: "late", position: 7n, epoch: first };
    expectMismatch(await calls.failure(saveCheckpoint, saved), "position", 7);
    expect(await calls.failure(getCheckpoint, saved)).toMatchObject({
      reason: "CHECKPOINT_NOT_FOUND",
    });
    const who = { case: "consumer", value: "late" } as const;
    expectMismatch(
      await calls.failure(waitFor, { who, position: 7n, epoch: first }),
      "position",
      7,
    );
    const start = { start: { case: "afterPosition", value: 7n }, epoch: first } as const;
    const field = "start.after_position";
    expectMismatch(await calls.failure(createGroup, { name: "late", start }), field, 7);
    expectMismatch(await calls.failure(resetGroup, { name: "kept", start }), field, 7);
  });

  test("is refused with an epoch the store does not know, at any position but 0", async () => {
    const { calls } = server;
    const start = (value: bigint) => ({ case: "afterPosition", value }) as const;
    const asked = { start: start(1n), epoch: unknown };
    expectMismatch(await calls.failure(subscribe, asked), "after_position", 1, unknown);
    const stream = calls.stream(subscribe, { start: start(0n), epoch: unknown });
    for await (const message of stream) {
      expect(message.message.case).toBe("batch");
      break;
    }
  });
});

describe("what is part of both histories", () => {
  test("is accepted with the first epoch", async () => {
    const { calls } = server;
    const after = { case: "afterPosition", value: 4n } as const;
    for await (const { message } of calls.stream(subscribe, { start: after, epoch: first })) {
      expect(message.case === "batch" && message.value.events[0]?.position).toBe(5n);
      break;
    }
    const query = { items: [{ types: ["None"] }] };
    const own = { stream: "d", events: [event("d")], epoch: first };
    await calls.unary(append, { ...own, conditions: [{ query, after: 4n }] });
    const checkpoint = { consumer: "pm", position: 4n, epoch: first };
    await calls.unary(append, { ...own, checkpoint });
    await calls.unary(saveCheckpoint, { consumer: "late", position: 4n, epoch: first });
    const who = { case: "consumer", value: "late" } as const;
    await calls.unary(waitFor, { who, position: 4n, epoch: first });
  });

  test("is a retry: it is answered with the original positions, whatever else is claimed", async () => {
    const id = "018f0000-0000-7000-8000-00000000abce";
    const events = [event("e", id)];
    const { calls } = server;
    const stored = await calls.unary(append, { stream: "e", events });
    const expected = { case: "expectedVersion", value: 6n } as const;
    const retry = { stream: "e", events, expected, epoch: first };
    const again = await calls.unary(append, retry);
    expect(again).toMatchObject({ deduplicated: true, firstPosition: stored.firstPosition });
  });

  test("is whatever a client of the present epoch says, or one that says none", async () => {
    const { calls } = server;
    for (const said of [epoch, ""]) {
      const events = [event("f")];
      const version = { case: "expectedState", value: 1 } as const;
      await calls.unary(append, { stream: "f", events, expected: version, epoch: said });
      const start = { case: "afterPosition", value: 7n } as const;
      for await (const message of calls.stream(subscribe, { start, epoch: said })) {
        expect(message.epoch).toBe(epoch);
        break;
      }
    }
  });

  test("is nothing that is no epoch: that is an invalid field", async () => {
    const { calls } = server;
    const bad = "XYZ";
    const events = [event("f")];
    const refused = { reason: "INVALID_FIELD", message: expect.stringContaining("epoch") };
    expect(await calls.failure(append, { stream: "f", events, epoch: bad })).toMatchObject(refused);
    expect(await calls.failure(subscribe, { epoch: bad })).toMatchObject(refused);
    expect(await calls.failure(read, { epoch: bad })).toMatchObject(refused);
    const checkpoint = { consumer: "x", position: 1n, epoch: bad };
    expect(await calls.failure(saveCheckpoint, checkpoint)).toMatchObject(refused);
  });
});
