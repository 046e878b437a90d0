// The pipe of appends: a window, outcomes in order, and nothing lost or doubled when it breaks.
import { create } from "@bufbuild/protobuf";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import {
  connect,
  type AnnalsClient,
  type AppendOutcome,
  type JsonEvent,
} from "../../../src/client/sdk.ts";
import {
  AppendPipeResponseSchema,
  type AppendPipeRequest,
  type AppendPipeResponse,
} from "../../../src/gen/annals/v1/append_pb.js";
import { startServer, temporaryFolder } from "../../cli/running-server.ts";
import { errorInfo, failureWith, scripted, type Scripted } from "../rpc/scripted-server.ts";
import { startTestServer } from "../../support/running-server.ts";

const cleanUp: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).toReversed()) await step();
});

function clientOf(address: string, retry = {}): AnnalsClient<JsonEvent> {
  const client = connect({ address, retry: { delayMinMs: 5, ...retry } });
  cleanUp.push(() => client.close());
  return client;
}

const event = (number: number) => ({ type: "Counted", data: { number } });

function positionsOf(outcomes: readonly AppendOutcome<JsonEvent>[]): number[] {
  return outcomes.map((outcome) => {
    if (outcome.kind === "refused") throw outcome.error;
    return outcome.appended.lastPosition;
  });
}

describe("a pipe of appends", () => {
  test("stores in the order of the calls, whatever their streams", async () => {
    const server = await startTestServer();
    cleanUp.push(() => server.stop());
    const client = clientOf(server.address);
    const appender = client.appender({ window: 32 });
    const outcomes: Promise<AppendOutcome<JsonEvent>>[] = [];
    for (let number = 1; number <= 1_000; number += 1) {
      outcomes.push((await appender.append(`s-${number % 7}`, event(number))).outcome);
    }
    await appender.close();
    expect(positionsOf(await Promise.all(outcomes))).toEqual(
      Array.from({ length: 1_000 }, (_, index) => index + 1),
    );
    const read = await client.read().toArray();
    expect(read.map(({ data }) => data)).toEqual(
      Array.from({ length: 1_000 }, (_, index) => ({ number: index + 1 })),
    );
  });

  test("goes on behind a refusal, which is an outcome and no rejection", async () => {
    const server = await startTestServer();
    cleanUp.push(() => server.stop());
    const appender = clientOf(server.address).appender();
    const sent = [
      await appender.append("s", event(1), { expect: 0 }),
      await appender.append("s", event(2), { expect: 0 }),
      await appender.append("s", event(3), { expect: 1 }),
    ];
    const outcomes = await Promise.all(sent.map(({ outcome }) => outcome));
    await appender.close();
    expect(outcomes).toMatchObject([
      { kind: "appended", appended: { version: 1 } },
      { kind: "refused", error: { code: "CONFLICT", streams: [{ actualVersion: 1 }] } },
      { kind: "appended", appended: { version: 2 } },
    ]);
    await expect(appender.append("s", event(4))).rejects.toThrow("closed");
  });

  test("that is opened and closed says nothing", async () => {
    const appender = clientOf("127.0.0.1:1").appender();
    await expect(appender.close()).resolves.toBeUndefined();
    expect(() => clientOf("127.0.0.1:1").appender({ window: 1_025 })).toThrow("window");
  });
});

/** Answers only when it is told to; breaks when it is told to. */
async function byHand(): Promise<{
  server: Scripted;
  received: string[][];
  answer: (count: number) => void;
  breakOff: (code?: number, reason?: string) => void;
  answerOutOfTurn: () => void;
}> {
  const received: string[][] = [];
  let call: ServerDuplexStream<AppendPipeRequest, AppendPipeResponse> | undefined;
  let sequence = 0;
  const server = await scripted({
    appendPipe: (opened: ServerDuplexStream<AppendPipeRequest, AppendPipeResponse>) => {
      const ids: string[] = [];
      received.push(ids);
      call = opened;
      sequence = 0;
      opened.on("data", ({ append }: AppendPipeRequest) => ids.push(append?.events[0]?.id ?? ""));
      opened.on("end", () => opened.end());
    },
  });
  cleanUp.push(() => server.stop());
  return {
    server,
    received,
    answer: (count) => {
      for (let index = 0; index < count; index += 1) {
        sequence += 1;
        const value = { firstPosition: BigInt(sequence), lastPosition: BigInt(sequence) };
        const outcome = { case: "appended", value } as const;
        const sent = { sequence: BigInt(sequence), outcome };
        call?.write(create(AppendPipeResponseSchema, sent));
      }
    },
    breakOff: (code = 14, reason = "") => {
      const details = reason === "" ? [] : [errorInfo(reason)];
      call?.emit("error", failureWith(code, "gone", details));
    },
    answerOutOfTurn: () => {
      const outcome = { case: "appended", value: {} } as const;
      call?.write(create(AppendPipeResponseSchema, { sequence: 9n, outcome }));
    },
  };
}

describe("the window", () => {
  test("lets no more appends under way than it has room for", async () => {
    const { server, received, answer } = await byHand();
    const appender = clientOf(server.connect().address).appender({ window: 3 });
    for (let number = 1; number <= 3; number += 1) await appender.append("s", event(number));
    let admitted = 0;
    const more = [4, 5].map((number) => appender.append("s", event(number)).then(() => ++admitted));
    await expect.poll(() => received[0]?.length).toBe(3);
    expect(admitted).toBe(0);
    answer(1);
    await expect.poll(() => received[0]?.length).toBe(4);
    expect(admitted).toBe(1);
    answer(1);
    await Promise.all(more);
    await expect.poll(() => received[0]?.length).toBe(5);
    answer(3);
    await appender.close();
  });

  test("counts bytes too, and lets a large append through by itself", async () => {
    const { server, received, answer } = await byHand();
    const appender = clientOf(server.connect().address).appender({ windowBytes: 1_000 });
    const large = { type: "Large", data: "x".repeat(5_000) };
    await appender.append("s", large);
    let admitted = false;
    const second = appender.append("s", large).then(() => (admitted = true));
    await expect.poll(() => received[0]?.length).toBe(1);
    expect(admitted).toBe(false);
    answer(1);
    await second;
    await expect.poll(() => received[0]?.length).toBe(2);
    answer(1);
    await appender.close();
  });
});

describe("a pipe that breaks", () => {
  test("sends what has no answer again, in order, with the same ids", async () => {
    const { server, received, answer, breakOff } = await byHand();
    const appender = clientOf(server.connect().address).appender();
    const sent: { eventIds: readonly string[]; outcome: Promise<AppendOutcome<JsonEvent>> }[] = [];
    for (let number = 1; number <= 6; number += 1) {
      sent.push(await appender.append("s", event(number)));
    }
    const ids = sent.flatMap(({ eventIds }) => eventIds);
    await expect.poll(() => received[0]?.length).toBe(6);
    answer(2);
    await Promise.all(sent.slice(0, 2).map(({ outcome }) => outcome));
    breakOff();
    await expect.poll(() => received[1]?.length).toBe(4);
    sent.push(await appender.append("s", event(7)));
    await expect.poll(() => received[1]?.length).toBe(5);
    answer(5);
    await appender.close();
    expect(received).toEqual([ids, [...ids.slice(2), ...(sent[6]?.eventIds ?? [])]]);
    for (const { outcome } of sent) expect((await outcome).kind).toBe("appended");
  });

  test("for good refuses what was under way, and is used again when there is a server", async () => {
    const { server, received, breakOff } = await byHand();
    const client = clientOf(server.connect().address, { attemptsMax: 1 });
    const appender = client.appender();
    const { outcome } = await appender.append("s", event(1));
    await expect.poll(() => received[0]?.length).toBe(1);
    breakOff();
    expect(await outcome).toMatchObject({
      kind: "refused",
      error: { code: "UNAVAILABLE", mayHaveBeenStored: true },
    });
    await appender.append("s", event(2));
    await expect.poll(() => received[1]?.length).toBe(1);
  });

  test("says of each append whether it may have been stored, whatever the last failure says", async () => {
    const { server, received, breakOff } = await byHand();
    const client = clientOf(server.connect().address, { attemptsMax: 2 });
    const appender = client.appender({ window: 1 });
    const first = await appender.append("s", event(1));
    const second = appender.append("s", event(2));
    await expect.poll(() => received[0]?.length).toBe(1);
    breakOff();
    await expect.poll(() => received[1]?.length).toBe(1);
    breakOff(14, "STOPPING");
    expect(await first.outcome).toMatchObject({ error: { mayHaveBeenStored: true } });
    expect(await (await second).outcome).toMatchObject({
      error: { reason: "STOPPING", mayHaveBeenStored: false },
    });
  });

  test("because an answer comes out of turn leaves no append without an outcome", async () => {
    const { server, received, answerOutOfTurn } = await byHand();
    const client = clientOf(server.connect().address);
    const { outcome } = await client.appender().append("s", event(1));
    await expect.poll(() => received[0]?.length).toBe(1);
    answerOutOfTurn();
    expect(await outcome).toMatchObject({
      kind: "refused",
      error: { code: "SERVER", mayHaveBeenStored: true },
    });
  });

  test("on purpose refuses with the signal's reason", async () => {
    const { server, received } = await byHand();
    const stop = new AbortController();
    const reason = new Error("enough");
    const client = clientOf(server.connect().address);
    const appender = client.appender({ signal: stop.signal, window: 1 });
    const first = await appender.append("s", event(1));
    const second = appender.append("s", event(2));
    await expect.poll(() => received[0]?.length).toBe(1);
    stop.abort(reason);
    expect(await first.outcome).toEqual({ kind: "refused", error: reason });
    expect(await (await second).outcome).toEqual({ kind: "refused", error: reason });
    await expect(appender.append("s", event(3))).rejects.toBe(reason);
  });
});

test("a server killed in the middle of a pipe: everything is there once, in order", async () => {
  const server = await startServer(temporaryFolder());
  cleanUp.push(() => server.kill());
  const client = clientOf(server.address, { attemptsMax: 1_000, delayMaxMs: 100 });
  const appender = client.appender({ window: 200 });
  const outcomes: Promise<AppendOutcome<JsonEvent>>[] = [];
  const count = 3_000;
  for (let number = 1; number <= count; number += 1) {
    outcomes.push((await appender.append(`s-${number % 5}`, event(number))).outcome);
    if (number === count / 2) {
      await server.kill();
      await server.start();
    }
  }
  await appender.close();
  expect(positionsOf(await Promise.all(outcomes))).toEqual(
    Array.from({ length: count }, (_, index) => index + 1),
  );
  let number = 0;
  for await (const { data } of client.read()) {
    number += 1;
    expect(data).toEqual({ number });
  }
  expect(number).toBe(count);
});
