// Subscriptions of the KurrentDB protocol: confirmation, history, live events, checkpoints, and how they end.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ReadResp } from "../../../../src/gen/event_store/client/streams/streams_pb.js";
import type { TestServer } from "../../../support/running-server.ts";
import {
  append,
  at,
  m,
  named,
  ofAll,
  ofStream,
  startKurrent,
  subscribe,
  trailersOf,
  type RecordedEvent,
  type Subscription,
} from "../kurrent-client.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startKurrent();
});
afterEach(() => server.stop());

function briefly(content: ReadResp["content"]): unknown {
  switch (content.case) {
    case "event":
      return at(content.value.event as RecordedEvent);
    case "checkpoint":
      return `checkpoint ${content.value.commitPosition}`;
    case "caughtUp": {
      const { streamRevision, position } = content.value;
      return `caught up at ${streamRevision ?? position?.commitPosition ?? "nothing"}`;
    }
    default:
      return content.case;
  }
}

async function next(subscription: Subscription, count: number): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (let i = 0; i < count; i++) seen.push(briefly(await subscription.next()));
  return seen;
}

describe("a subscription to a stream", () => {
  test("is confirmed first, then gets history, and then what is new", async () => {
    await append(server.calls, "s", [{}, {}]);
    const subscription = subscribe(server.calls, { streamOption: ofStream("s") });
    expect(await next(subscription, 4)).toEqual(["confirmation", "s@0", "s@1", "caught up at 1"]);
    await append(server.calls, "other", [{}]);
    await append(server.calls, "s", [{}]);
    expect(await next(subscription, 1)).toEqual(["s@2"]);
    subscription.cancel();
  });

  test("begins after a revision, at the end, or before the stream exists", async () => {
    await append(server.calls, "s", [{}, {}]);
    const after = subscribe(server.calls, { streamOption: ofStream("s", 0n) });
    const end = subscribe(server.calls, { streamOption: ofStream("s", "end") });
    const early = subscribe(server.calls, { streamOption: ofStream("new") });
    const beyond = subscribe(server.calls, { streamOption: ofStream("s", 2n) });
    expect(await next(after, 3)).toEqual(["confirmation", "s@1", "caught up at 1"]);
    expect(await next(end, 2)).toEqual(["confirmation", "caught up at 1"]);
    expect(await next(early, 2)).toEqual(["confirmation", "caught up at nothing"]);
    expect(await next(beyond, 2)).toEqual(["confirmation", "caught up at 1"]);
    await append(server.calls, "s", [{}, {}]);
    await append(server.calls, "new", [{}]);
    expect(await next(end, 1)).toEqual(["s@2"]);
    expect(await next(early, 1)).toEqual(["new@0"]);
    expect(await next(beyond, 1)).toEqual(["s@3"]);
    for (const each of [after, end, early, beyond]) each.cancel();
  });

  test("ends when the stream is deleted for ever, and cannot begin afterwards", async () => {
    await append(server.calls, "s", [{}]);
    const subscription = subscribe(server.calls, { streamOption: ofStream("s") });
    await next(subscription, 3);
    const expectedStreamRevision = { case: "any", value: {} } as const;
    const options = { streamIdentifier: named("s"), expectedStreamRevision };
    await server.calls.unary(m.tombstone, { options });
    const deleted = { code: 9, exception: "stream-deleted", "stream-name": "s" };
    expect(await trailersOf(subscription.next())).toMatchObject(deleted);
    const late = subscribe(server.calls, { streamOption: ofStream("s") });
    expect(await trailersOf(late.next())).toMatchObject(deleted);
  });

  test("follows a category as links", async () => {
    await append(server.calls, "c-1", [{}]);
    const all = subscribe(server.calls, { streamOption: ofStream("$ce-c"), resolveLinks: true });
    expect(await next(all, 3)).toEqual(["confirmation", "c-1@0", "caught up at 1"]);
    await append(server.calls, "d-1", [{}]);
    await append(server.calls, "c-2", [{}]);
    expect(await next(all, 1)).toEqual(["c-2@0"]);
    // The revision of the first link is where another subscription goes on.
    const rest = subscribe(server.calls, {
      streamOption: ofStream("$ce-c", 1n),
      resolveLinks: true,
    });
    expect(await next(rest, 2)).toEqual(["confirmation", "c-2@0"]);
    all.cancel();
    rest.cancel();
  });
});

describe("a subscription to all streams", () => {
  test("begins after a position and gets system events too", async () => {
    await append(server.calls, "s", [{}, {}]);
    const subscription = subscribe(server.calls, { streamOption: ofAll(2n) });
    expect(await next(subscription, 3)).toEqual(["confirmation", "s@1", "caught up at 3"]);
    await append(server.calls, "$$s", [{ type: "$metadata", data: "{}" }]);
    expect(await next(subscription, 1)).toEqual(["$$s@0"]);
    subscription.cancel();
  });

  test("with a filter gets checkpoints by examined events, and one at the end of history", async () => {
    for (let i = 0; i < 12; i++)
      await append(
        server.calls,
        "s",
        Array.from({ length: 32 }, () => ({})),
      );
    const filter = { case: "eventType" as const, value: { prefix: ["none"] } };
    const value = {
      filter,
      window: { case: "count" as const, value: {} },
      checkpointIntervalMultiplier: 2,
    };
    const filterOption = { case: "filter", value } as const;
    const subscription = subscribe(server.calls, { streamOption: ofAll(), filterOption });
    expect(await next(subscription, 9)).toEqual([
      "confirmation",
      ...[64, 128, 192, 256, 320, 384, 385].map((position) => `checkpoint ${position}`),
      "caught up at 385",
    ]);
    subscription.cancel();
  });

  test("tells its client that the server stops", async () => {
    const subscription = subscribe(server.calls, { streamOption: ofAll() });
    await next(subscription, 3);
    const stopped = server.stop();
    expect(await trailersOf(subscription.next())).toMatchObject({ code: 14 });
    await stopped;
  });
});
