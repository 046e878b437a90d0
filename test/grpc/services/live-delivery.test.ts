// Live delivery over real sockets: many subscribers of one selection, each at its own pace.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Calls, nextOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { data, m } from "./store-requests.ts";

const eventCount = 300;
/** All events together are several times what a connection takes unread. */
const payload = data("x".repeat(16 * 1024));

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

async function append(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await server.calls.unary(m.append, { stream: "a", events: [{ type: "T", payload }] });
  }
}

/** A subscriber that has caught up and whose stream can be paused. */
async function follower(calls: Calls) {
  const stream = calls.stream(m.subscribe, {});
  const messages = stream[Symbol.asyncIterator]();
  expect((await nextOf(messages)).message.case).toBe("caughtUp");
  const positions: number[] = [];
  return {
    stream,
    positions,
    /** Reads until it has had so many events. */
    async until(count: number): Promise<void> {
      while (positions.length < count) {
        const { message } = await nextOf(messages);
        if (message.case !== "batch") continue;
        for (const { position } of message.value.events) positions.push(Number(position));
      }
    },
  };
}

test("one that does not read holds up nobody, and gets each event once when it reads", async () => {
  const clients = [1, 2, 3].map(() => new Calls(server.address));
  try {
    const followers = await Promise.all(clients.map(follower));
    const [first, second, slow] = followers;
    if (slow === undefined || first === undefined || second === undefined) throw new Error("few");
    await append(1);
    await Promise.all(followers.map((each) => each.until(1)));
    const reading = Promise.all([first.until(eventCount), second.until(eventCount)]);
    await append(eventCount - 1);
    await reading;
    await slow.until(eventCount);
    const all = Array.from({ length: eventCount }, (_, i) => i + 1);
    for (const { positions } of followers) expect(positions).toEqual(all);
    for (const { stream } of followers) stream.cancel();
  } finally {
    for (const client of clients) client.close();
  }
});
