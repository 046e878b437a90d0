// Checkpoints as a client meets them: over a real connection, with every refusal by name.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

const { append, appendPipe, getInfo } = EventStoreService.method;
const { saveCheckpoint, getCheckpoint, listCheckpoints, deleteCheckpoint, waitFor } =
  CheckpointService.method;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  const events = Array.from({ length: 20 }, () => ({ type: "Happened" }));
  await server.calls.unary(append, { stream: "before", events });
});
afterAll(() => server.stop());

let names = 0;
/** A consumer of its own for each test. */
const fresh = (): string => `consumer-${names++}`;

const save = (consumer: string, position: bigint, more = {}) =>
  server.calls.unary(saveCheckpoint, { consumer, position, ...more });
const positionOf = async (consumer: string) =>
  (await server.calls.unary(getCheckpoint, { consumer })).checkpoint?.position;

describe("checkpoints", () => {
  test("are saved and read back, with metadata and time", async () => {
    const consumer = fresh();
    const { checkpoint } = await save(consumer, 7n, { metadata: { run: "1", __proto: "x" } });
    expect(checkpoint).toMatchObject({ consumer, position: 7n });
    expect(checkpoint?.metadata).toEqual({ run: "1", __proto: "x" });
    expect(Number(checkpoint?.savedAt?.seconds)).toBeGreaterThan(1_700_000_000);
    const got = await server.calls.unary(getCheckpoint, { consumer });
    expect(got.checkpoint).toEqual(checkpoint);
  });

  test("go forwards, or where they are told to begin anew", async () => {
    const consumer = fresh();
    await save(consumer, 7n);
    await save(consumer, 7n);
    const backwards = await server.calls.failure(saveCheckpoint, { consumer, position: 6n });
    expect(backwards).toMatchObject({
      code: 9,
      reason: "CHECKPOINT_BACKWARDS",
      info: { consumer, asked: "6", saved: "7" },
    });
    await save(consumer, 6n, { reset: true });
    expect(await positionOf(consumer)).toBe(6n);
    const beyond = await server.calls.failure(saveCheckpoint, { consumer, position: 10_000n });
    expect(beyond).toMatchObject({ code: 11, reason: "BEYOND_HEAD", info: { field: "position" } });
  });

  test("of another log count its positions, whatever the head here is", async () => {
    const consumer = fresh();
    const source = "orders@eu";
    const greatest = 2n ** 64n - 1n;
    await save(consumer, greatest - 1n, { source });
    const { checkpoint } = await save(consumer, greatest, { source });
    expect(checkpoint).toMatchObject({ position: greatest, source });
    const waiting = { who: { case: "consumer" as const, value: consumer }, position: greatest };
    expect(await server.calls.unary(waitFor, waiting)).toMatchObject({ position: greatest });
    const conflict = await server.calls.failure(saveCheckpoint, { consumer, position: 1n });
    expect(conflict).toMatchObject({
      code: 10,
      reason: "CHECKPOINT_CONFLICT",
      info: { consumer, position: `${greatest}`, source },
    });
    const { epoch } = await server.calls.unary(getInfo, {});
    const mixed = { consumer, position: 1n, source, epoch };
    expect(await server.calls.failure(saveCheckpoint, mixed)).toMatchObject({
      reason: "INVALID_FIELD",
      message: "epoch: is of this store's positions: not with source",
    });
    await save(consumer, 1n, { reset: true });
    expect(await positionOf(consumer)).toBe(1n);
  });

  test("are set if what is saved is as expected", async () => {
    const consumer = fresh();
    const expecting = (value: bigint) => ({
      expected: { case: "expectedPosition" as const, value },
    });
    const absent = { expected: { case: "expectedAbsent" as const, value: true } };
    const nothing = await server.calls.failure(saveCheckpoint, {
      consumer,
      position: 1n,
      ...expecting(0n),
    });
    expect(nothing).toMatchObject({ code: 10, reason: "CHECKPOINT_CONFLICT", info: { consumer } });
    await save(consumer, 1n, absent);
    await save(consumer, 2n, expecting(1n));
    for (const stale of [absent, expecting(1n)]) {
      const failure = await server.calls.failure(saveCheckpoint, {
        consumer,
        position: 3n,
        ...stale,
      });
      expect(failure).toMatchObject({ reason: "CHECKPOINT_CONFLICT", info: { position: "2" } });
    }
  });

  test("may be all that an append has", async () => {
    const consumer = fresh();
    const checkpoint = { consumer, position: 12n, source: "upstream" };
    const { head } = await server.calls.unary(getInfo, {});
    const answer = await server.calls.unary(append, { checkpoint });
    expect(answer).toMatchObject({ firstPosition: 0n, lastPosition: 0n, streams: [], head });
    expect(await positionOf(consumer)).toBe(12n);
    const again = await server.calls.failure(append, { checkpoint });
    expect(again).toMatchObject({ code: 9, reason: "CHECKPOINT_BACKWARDS" });
    const conditions = [{ query: {} }];
    const next = { checkpoint: { ...checkpoint, position: 13n }, conditions };
    expect(await server.calls.failure(append, next)).toMatchObject({ reason: "APPEND_CONFLICT" });
    expect(await positionOf(consumer)).toBe(12n);
  });

  test("that are not there are not found, and deleting them is no error", async () => {
    const consumer = fresh();
    const failure = await server.calls.failure(getCheckpoint, { consumer });
    expect(failure).toMatchObject({ code: 5, reason: "CHECKPOINT_NOT_FOUND", info: { consumer } });
    expect((await server.calls.unary(deleteCheckpoint, { consumer })).deleted).toBe(false);
    await save(consumer, 1n);
    expect((await server.calls.unary(deleteCheckpoint, { consumer })).deleted).toBe(true);
    expect(await server.calls.failure(getCheckpoint, { consumer })).toMatchObject({ code: 5 });
  });

  test("are listed page by page", async () => {
    const consumers = ["list-a", "list-b", "list-é", "list-😀"];
    for (const consumer of consumers) await save(consumer, 2n);
    const listed: string[] = [];
    let pageToken = "";
    do {
      const request = { prefix: "list-", pageSize: 3, pageToken };
      const page = await server.calls.unary(listCheckpoints, request);
      expect(page.checkpoints.length).toBeLessThanOrEqual(3);
      listed.push(...page.checkpoints.map(({ consumer }) => consumer));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(listed).toEqual(consumers);
    const corrupted = await server.calls.failure(listCheckpoints, { pageToken: "corrupted" });
    expect(corrupted).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
  });

  test.each([
    [{ consumer: "", position: 1n }, "consumer"],
    [{ consumer: "$own", position: 1n }, "consumer"],
    [{ consumer: "a\u0000", position: 1n }, "consumer"],
    [{ consumer: "é".repeat(129), position: 1n }, "consumer"],
    [{ consumer: "a", position: 2n ** 53n }, "position"],
    [{ consumer: "a", position: 2n ** 64n - 1n }, "position"],
    [{ consumer: "a", position: 1n, metadata: { $own: "x" } }, 'metadata["$own"]'],
    [{ consumer: "a", position: 1n, metadata: { k: "x".repeat(17_000) } }, "metadata"],
  ])("of %o are refused by field", async (request, field) => {
    const failure = await server.calls.failure(saveCheckpoint, request);
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(failure.badRequest?.fieldViolations.map((one) => one.field)).toEqual([field]);
  });

  test("may have a name as long as the limit", async () => {
    const consumer = "é".repeat(128);
    await save(consumer, 3n);
    expect(await positionOf(consumer)).toBe(3n);
  });
});

describe("an append with a checkpoint", () => {
  const events = [{ type: "Reacted" }];

  test("stores both, or neither", async () => {
    const consumer = fresh();
    const request = { stream: fresh(), events, checkpoint: { consumer, position: 5n } };
    await server.calls.unary(append, request);
    expect(await positionOf(consumer)).toBe(5n);
    const { head } = await server.calls.unary(getInfo, {});
    const failure = await server.calls.failure(append, request);
    expect(failure).toMatchObject({
      code: 9,
      reason: "CHECKPOINT_BACKWARDS",
      info: { consumer, asked: "5", saved: "5" },
    });
    expect((await server.calls.unary(getInfo, {})).head).toBe(head);
  });

  test("beyond the head is refused", async () => {
    const checkpoint = { consumer: fresh(), position: 10_000n };
    const failure = await server.calls.failure(append, { stream: "s", events, checkpoint });
    const info = { field: "checkpoint.position", asked: "10000" };
    expect(failure).toMatchObject({ code: 11, reason: "BEYOND_HEAD", info });
  });

  test("that names nothing properly is refused by field", async () => {
    const checkpoint = { consumer: "$x", position: 2n ** 60n };
    const failure = await server.calls.failure(append, { stream: "s", events, checkpoint });
    expect(failure.badRequest?.fieldViolations.map((one) => one.field)).toEqual([
      "checkpoint.consumer",
      "checkpoint.position",
    ]);
  });

  test("in a pipe is refused alone, and the pipe goes on", async () => {
    const consumer = fresh();
    const pipe = server.calls.pipe(appendPipe);
    for (const position of [3n, 3n, 4n]) {
      pipe.send({ append: { stream: "p", events, checkpoint: { consumer, position } } });
    }
    pipe.end();
    const cases: (string | undefined)[] = [];
    for (let i = 0; i < 3; i++) {
      const { value } = await pipe.answers.next();
      cases.push(value?.outcome.case);
    }
    expect(cases).toEqual(["appended", "failure", "appended"]);
    expect(await positionOf(consumer)).toBe(4n);
  });
});

describe("WaitFor", () => {
  const consumerOf = (value: string) => ({ case: "consumer", value }) as const;

  test("answers once the consumer is there", async () => {
    const consumer = fresh();
    const waiting = server.calls.unary(waitFor, { who: consumerOf(consumer), position: 9n });
    await save(consumer, 4n);
    await save(consumer, 12n);
    expect((await waiting).position).toBe(12n);
    const again = await server.calls.unary(waitFor, { who: consumerOf(consumer), position: 12n });
    expect(again.position).toBe(12n);
  });

  test("gives up after its timeout, or the call's deadline", async () => {
    const request = { who: consumerOf(fresh()), position: 9n };
    const own = { ...request, timeout: { seconds: 0n, nanos: 20_000_000 } };
    const failure = await server.calls.failure(waitFor, own);
    expect(failure).toMatchObject({ code: 4, reason: "DEADLINE_EXCEEDED" });
    const options = { deadline: Date.now() + 100 };
    expect(await server.calls.failure(waitFor, request, options)).toMatchObject({ code: 4 });
  });

  test.each([
    [{ position: 1n }, "who"],
    [{ who: consumerOf(""), position: 1n }, "consumer"],
    [{ who: { case: "group", value: "$g" } as const, position: 1n }, "group"],
    [{ who: { case: "group", value: "g" } as const, position: 2n ** 53n }, "position"],
    [{ who: consumerOf("a"), position: 1n, timeout: { seconds: 3_601n } }, "timeout"],
    [{ who: consumerOf("a"), position: 1n, timeout: { seconds: -1n } }, "timeout"],
  ])("of %o is refused by field", async (request, field) => {
    const failure = await server.calls.failure(waitFor, request);
    expect(failure.badRequest?.fieldViolations.map((one) => one.field)).toEqual([field]);
  });

  test("for a group that is not there says so", async () => {
    const who = { case: "group", value: "nobody" } as const;
    const failure = await server.calls.failure(waitFor, { who, position: 1n });
    expect(failure).toMatchObject({
      code: 5,
      reason: "GROUP_NOT_FOUND",
      info: { group: "nobody" },
    });
  });

  test("ends with UNAVAILABLE when the server stops", async () => {
    const stopping = await startTestServer();
    const request = { who: consumerOf("a"), position: 1n };
    const failure = stopping.calls.failure(waitFor, request);
    await stopping.calls.unary(getInfo, {});
    await stopping.stop();
    expect((await failure).code).toBe(14);
  });
});
