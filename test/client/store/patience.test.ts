// Trying again: ids that stay the same, waits that grow, and when it is over.
import { create } from "@bufbuild/protobuf";
import { anyPack, type Any } from "@bufbuild/protobuf/wkt";
import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { connect } from "../../../src/client/sdk.ts";
import { newEventId } from "../../../src/client/store/event.ts";
import { defaultRetryPolicy, delayMs } from "../../../src/client/store/retry.ts";
import { AppendResponseSchema, type AppendRequest } from "../../../src/gen/annals/v1/append_pb.js";
import { AppendConflictSchema } from "../../../src/gen/annals/v1/errors_pb.js";
import { RetryInfoSchema } from "../../../src/gen/google/rpc/error_details_pb.js";
import { errorInfo, failureWith, scripted, type Scripted } from "../rpc/scripted-server.ts";

let server: Scripted | undefined;
const clients: { close(): void }[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  server?.stop();
  server = undefined;
});

interface Failure {
  readonly code: number;
  readonly reason?: string;
  readonly details?: Any[];
}

/**
 * A server that fails with these, one an append, and then accepts; and the ids that it was sent.
 */
async function failing(...failures: Failure[]) {
  const ids: string[][] = [];
  server = await scripted({
    append: (call: ServerUnaryCall<AppendRequest, unknown>, answer: sendUnaryData<unknown>) => {
      ids.push(call.request.events.map(({ id }) => id));
      const failure = failures[ids.length - 1];
      if (failure === undefined) {
        const count = BigInt(call.request.events.length);
        answer(null, create(AppendResponseSchema, { firstPosition: 1n, lastPosition: count }));
        return;
      }
      const { code, reason, details = [] } = failure;
      const info = reason === undefined ? [] : [errorInfo(reason)];
      answer(failureWith(code, "not now", [...info, ...details]));
    },
  });
  const { address } = server.connect();
  const retry = { delayMinMs: 1, delayMaxMs: 4, attemptsMax: 5 };
  const client = connect({ address, retry });
  clients.push(client);
  return { client, ids };
}

const events = [{ type: "A" }, { type: "B" }];
const unknown: Failure = { code: 14, reason: "OUTCOME_UNKNOWN" };

describe("an append that may have been stored", () => {
  test.each<[string, Failure]>([
    ["the outcome is unknown", unknown],
    ["the store recovers", { code: 14, reason: "RECOVERING" }],
    ["the server stops", { code: 14, reason: "STOPPING" }],
    ["too many appends wait", { code: 8, reason: "OVERLOADED" }],
    ["the disk is full", { code: 8, reason: "DISK_FULL" }],
    ["its deadline passed before it was stored", { code: 4, reason: "DEADLINE_EXCEEDED" }],
    ["something in between cancelled it", { code: 1 }],
    ["the connection breaks", { code: 14 }],
    ["the stream breaks off", { code: 13 }],
    ["it took too long", { code: 4 }],
  ])("is sent again with the same ids where %s", async (_, failure) => {
    const { client, ids } = await failing(failure, failure);
    const appended = await client.append("s", events);
    expect(ids).toEqual([appended.eventIds, appended.eventIds, appended.eventIds]);
  });

  test.each<[string, Failure]>([
    ["INVALID_ARGUMENT", { code: 3, reason: "INVALID_FIELD" }],
    ["EXHAUSTED", { code: 8, reason: "ANSWER_TOO_LARGE" }],
    ["UNAVAILABLE", { code: 14, reason: "STORE_FAILED" }],
    ["SERVER", { code: 13, reason: "INTERNAL" }],
    ["CORRUPTION", { code: 15, reason: "CORRUPTION" }],
    ["FAILED_PRECONDITION", { code: 9, reason: "STREAM_TOMBSTONED" }],
  ])("is not where trying again is no use: %s", async (code, failure) => {
    const { client, ids } = await failing(failure);
    await expect(client.append("s", events)).rejects.toMatchObject({ code });
    expect(ids).toHaveLength(1);
  });

  test("fails in the end, and says that any of the attempts may have stored it", async () => {
    const busy = { code: 8, reason: "OVERLOADED" };
    const { client, ids } = await failing(unknown, busy, busy, busy, busy);
    const append = client.append("s", events);
    await expect(append).rejects.toMatchObject({ code: "EXHAUSTED", mayHaveBeenStored: true });
    expect(ids).toHaveLength(5);
  });

  test("is not there where the store, asked again, decides against it", async () => {
    const conflict = anyPack(AppendConflictSchema, create(AppendConflictSchema, {}));
    const refused = { code: 10, reason: "APPEND_CONFLICT", details: [conflict] };
    const { client } = await failing(unknown, refused);
    const append = client.append("s", events);
    await expect(append).rejects.toMatchObject({ code: "CONFLICT", mayHaveBeenStored: false });
  });

  test("ends with the signal's own reason, while it waits to be sent again", async () => {
    const retryDelay = { seconds: 3_600n, nanos: 0 };
    const wait = anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay }));
    const stop = new AbortController();
    const { client } = await failing({ code: 8, reason: "OVERLOADED", details: [wait] });
    const append = client.append("s", events, { signal: stop.signal, timeoutMs: 3_600_000 });
    setTimeout(() => stop.abort(new Error("enough")), 50);
    await expect(append).rejects.toThrow("enough");
  });

  test("does not wait for what its time does not reach", async () => {
    const retryDelay = { seconds: 20n, nanos: 0 };
    const wait = anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay }));
    const { client, ids } = await failing({ code: 8, reason: "OVERLOADED", details: [wait] });
    const append = client.append("s", events, { timeoutMs: 10_000 });
    await expect(append).rejects.toMatchObject({ code: "EXHAUSTED", retryAfterMs: 20_000 });
    expect(ids).toHaveLength(1);
  });
});

test("a wait doubles up to its bound, is half chance, and never shorter than asked for", () => {
  const failures = fc.integer({ min: 1, max: 2_000 });
  const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(failures, chance, fc.nat(60_000), (count, luck, asked) => {
      const { delayMinMs, delayMaxMs } = defaultRetryPolicy;
      const full = Math.min(delayMaxMs, delayMinMs * 2 ** (count - 1));
      const own = delayMs(defaultRetryPolicy, count, luck);
      expect(own).toBeGreaterThanOrEqual(full / 2);
      expect(own).toBeLessThanOrEqual(full);
      const waited = delayMs(defaultRetryPolicy, count, luck, asked);
      expect(waited).toBeGreaterThanOrEqual(Math.min(asked, 30_000));
      expect(waited).toBeLessThanOrEqual(Math.max(own, 33_000));
    }),
  );
});

describe("event ids", () => {
  test("are UUIDs of version 7 that rise, also where the clock stands or goes back", () => {
    const now = Date.now();
    const times = fc.array(fc.integer({ min: now, max: now + 5 }), {
      maxLength: 9_000,
      size: "max",
    });
    fc.assert(
      fc.property(times, (clock) => {
        const ids = clock.map((ms) => newEventId(ms));
        expect(ids).toEqual(ids.toSorted());
        expect(new Set(ids).size).toBe(ids.length);
        for (const id of ids) {
          expect(id).toMatch(
            /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
          );
        }
      }),
      { numRuns: 10 },
    );
  });

  test("carry the time they were made at", () => {
    const ms = Date.now() + 60_000;
    expect(Number.parseInt(newEventId(ms).replace("-", "").slice(0, 12), 16)).toBe(ms);
  });
});
