// The official clients of KurrentDB and EventStoreDB for Node walk through the streams and persistent
// subscriptions of a server. Each step prints one line of JSON. `node conversation.mjs PACKAGE`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

const [, , packageName, role, ...roleArgs] = process.argv;
const K = await import(packageName);
const Client = K.KurrentDBClient ?? K.EventStoreDBClient;
const isLegacy = K.KurrentDBClient === undefined;
const address = process.env.ANNALS_ADDRESS;
const scheme = isLegacy ? "esdb" : "kurrentdb";
const { jsonEvent, binaryEvent, ANY, NO_STREAM, STREAM_EXISTS, START, END, FORWARDS, BACKWARDS } =
  K;

const connect = (options = "") =>
  Client.connectionString(`${scheme}://${address}?tls=false${options}`);
/** The expectation has another name in the older client. */
const expecting = (state) => (isLegacy ? { expectedRevision: state } : { streamState: state });
const event = (type = "Placed", more = {}) => jsonEvent({ type, data: { x: 1 }, ...more });
const name = () => `orders-${randomUUID()}`;
const collect = async (source) => {
  const all = [];
  for await (const one of source) all.push(one);
  return all;
};
const types = (all) => all.map(({ event: found }) => found.type);
const rejects = async (promise, className) =>
  assert.rejects(
    promise,
    (error) => error instanceof K[className] || assert.fail(`${error.stack}`),
  );

const client = connect();

/** The next of what a subscription emits. */
function reader(subscription) {
  const found = [];
  let wake = () => {};
  let failure;
  subscription.on("data", (data) => {
    found.push(data);
    wake();
  });
  subscription.on("error", (error) => {
    failure = error;
    wake();
  });
  return {
    async next() {
      while (found.length === 0) {
        if (failure !== undefined) throw failure;
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
      return found.shift();
    },
  };
}

if (role === "consumer") {
  const [stream, group] = roleArgs;
  const subscription = client.subscribeToPersistentSubscriptionToStream(stream, group);
  const source = reader(subscription);
  for (let i = 0; i < 3; i++) await source.next();
  process.stdout.write("holding\n");
  await new Promise(() => {});
}

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const steps = {
  async connect() {
    await client.appendToStream(name(), event());
  },

  async discover() {
    const found = Client.connectionString(`${scheme}+discover://${address}?tls=false`);
    const several = Client.connectionString(`${scheme}://${address},${address}?tls=false`);
    const stream = name();
    await found.appendToStream(stream, event());
    assert.equal((await collect(several.readStream(stream))).length, 1);
    await found.dispose();
    await several.dispose();
  },

  async append_and_read() {
    const stream = name();
    const first = event("A", { metadata: { $correlationId: "c" } });
    const second = binaryEvent({
      type: "B",
      data: Buffer.from([0, 1, 255]),
      metadata: Buffer.from([9, 255]),
    });
    const appended = await client.appendToStream(stream, [first, second], expecting(NO_STREAM));
    assert.equal(appended.nextExpectedRevision, 1n);
    await client.appendToStream(stream, event("C"), {
      ...expecting(1n),
      credentials: { username: "admin", password: "x" },
    });
    const all = await collect(client.readStream(stream));
    assert.deepEqual(types(all), ["A", "B", "C"]);
    assert.deepEqual(
      all.map(({ event: found }) => found.revision),
      [0n, 1n, 2n],
    );
    assert.equal(all[0].event.id, first.id);
    assert.deepEqual(all[0].event.data, { x: 1 });
    assert.deepEqual(all[0].event.metadata, { $correlationId: "c" });
    assert.deepEqual([...all[1].event.data], [0, 1, 255]);
    assert.deepEqual([...all[1].event.metadata], [9, 255]);
    assert.ok(Math.abs(all[0].event.created.getTime() - Date.now()) < 60_000);
    const back = client.readStream(stream, {
      direction: BACKWARDS,
      fromRevision: END,
      maxCount: 2,
    });
    assert.deepEqual(types(await collect(back)), ["C", "B"]);
    const rest = client.readStream(stream, { direction: FORWARDS, fromRevision: 1n });
    assert.deepEqual(types(await collect(rest)), ["B", "C"]);
  },

  async conflict() {
    const stream = name();
    await client.appendToStream(stream, event());
    for (const state of [NO_STREAM, 5n]) {
      await rejects(
        client.appendToStream(stream, event(), expecting(state)),
        "WrongExpectedVersionError",
      );
    }
    await rejects(
      client.appendToStream(name(), event(), expecting(STREAM_EXISTS)),
      "WrongExpectedVersionError",
    );
    const lenient = connect("&throwOnAppendFailure=false");
    const quiet = await lenient.appendToStream(stream, event(), expecting(NO_STREAM));
    await lenient.dispose();
    assert.equal(quiet.success, false);
  },

  async retry() {
    const stream = name();
    const both = [event(), event()];
    for (const state of [ANY, NO_STREAM]) {
      const first = await client.appendToStream(stream, both, expecting(state));
      assert.deepEqual(await client.appendToStream(stream, both, expecting(state)), first);
    }
    await client.appendToStream(name(), both);
    assert.equal((await collect(client.readStream(stream))).length, 2);
  },

  async many() {
    const stream = name();
    const data = Buffer.alloc(1_024);
    const one = () => binaryEvent({ type: "K", data });
    await Promise.all(Array.from({ length: 2_000 }, () => client.appendToStream(stream, one())));
    assert.equal((await collect(client.readStream(stream))).length, 2_000);
    const large = Array.from({ length: 3_000 }, one);
    await client.appendToStream(`${stream}-large`, large);
    assert.equal((await collect(client.readStream(`${stream}-large`))).length, 3_000);
  },

  async read_all_and_filter() {
    const stream = name();
    const { position } = await client.appendToStream(stream, [event("A"), event("B")]);
    const last = await collect(
      client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }),
    );
    assert.deepEqual(types(last), ["B"]);
    const inclusive = await collect(client.readAll({ fromPosition: position }));
    assert.equal(types(inclusive)[0], "B");
    assert.ok((await collect(client.readAll({ maxCount: 3 }))).length === 3);
    if (isLegacy) return;
    const filter = K.streamNameFilter({ prefixes: [stream] });
    assert.deepEqual(types(await collect(client.readAll({ filter }))), ["A", "B"]);
    const regex = K.eventTypeFilter({ regex: "^(?!(\\$|B)).*" });
    const found = await collect(
      client.readAll({
        filter: regex,
        fromPosition: { commit: position.commit - 1n, prepare: position.prepare - 1n },
      }),
    );
    assert.deepEqual(types(found), ["A"]);
  },

  async subscribe_through_a_restart() {
    const stream = name();
    await client.appendToStream(stream, [event("E0"), event("E1")]);
    const first = reader(client.subscribeToStream(stream, { fromRevision: START }));
    const seen = [(await first.next()).event, (await first.next()).event];
    process.stdout.write("RESTART\n");
    await input.next();
    await assert.rejects(first.next());
    for (let tries = 0; ; tries++) {
      try {
        await client.appendToStream(stream, event("E2"), expecting(1n));
        break;
      } catch (error) {
        if (tries > 50) throw error;
        await delay(200);
      }
    }
    const rest = client.subscribeToStream(stream, { fromRevision: seen[1].revision });
    seen.push((await reader(rest).next()).event);
    await rest.unsubscribe();
    assert.deepEqual(
      seen.map(({ type }) => type),
      ["E0", "E1", "E2"],
    );
  },

  async subscribe_to_all_with_checkpoints() {
    const stream = name();
    const checkpoints = [];
    const filter = K.streamNameFilter({
      prefixes: [stream],
      maxSearchWindow: 2,
      checkpointInterval: 2,
      checkpointReached: (_, position) => void checkpoints.push(position.commit),
    });
    const { position } = await client.appendToStream(
      `other-${stream}`,
      Array.from({ length: 20 }, () => event()),
    );
    const subscription = client.subscribeToAll({ filter, fromPosition: START });
    const source = reader(subscription);
    await client.appendToStream(stream, event("Mine"));
    assert.equal((await source.next()).event.type, "Mine");
    assert.ok(checkpoints.length > 0 && checkpoints[0] <= position.commit);
    assert.equal(new Set(checkpoints).size, checkpoints.length);
    await subscription.unsubscribe();
  },

  async persistent_subscription() {
    const stream = name();
    const settings = K.persistentSubscriptionToStreamSettingsFromDefaults({
      startFrom: START,
      maxRetryCount: 2,
    });
    await client.appendToStream(
      stream,
      ["E0", "E1", "E2", "E3"].map((type) => event(type)),
    );
    await client.createPersistentSubscriptionToStream(stream, "g", settings);
    await rejects(
      client.createPersistentSubscriptionToStream(stream, "g", settings),
      "PersistentSubscriptionExistsError",
    );
    const subscription = client.subscribeToPersistentSubscriptionToStream(stream, "g");
    const source = reader(subscription);
    const seen = [];
    while (seen.length < 5) {
      const found = await source.next();
      seen.push(`${found.event.type} ${found.retryCount}`);
      if (seen.at(-1) === "E1 0") await subscription.nack(K.RETRY, "again", found);
      else if (found.event.type === "E2") await subscription.nack(K.PARK, "later", found);
      else await subscription.ack(found);
    }
    assert.ok(seen.includes("E1 1"));
    let info;
    for (let tries = 0; tries < 100; tries++) {
      info = await client.getPersistentSubscriptionToStreamInfo(stream, "g");
      if (info.stats.parkedMessageCount === 1n) break;
      await delay(50);
    }
    assert.equal(info.stats.parkedMessageCount, 1n);
    assert.equal(info.settings.maxRetryCount, 2);
    assert.equal(info.connections.length, 1);
    await client.replayParkedMessagesToStream(stream, "g");
    const replayed = await source.next();
    assert.equal(replayed.event.type, "E2");
    await subscription.ack(replayed);
    await subscription.unsubscribe();
    const updated = K.persistentSubscriptionToStreamSettingsFromDefaults({ maxRetryCount: 9 });
    await client.updatePersistentSubscriptionToStream(stream, "g", updated);
    assert.equal(
      (await client.listPersistentSubscriptionsToStream(stream))[0].settings.maxRetryCount,
      9,
    );
    const dropped = reader(client.subscribeToPersistentSubscriptionToStream(stream, "g"));
    await delay(300);
    await client.deletePersistentSubscriptionToStream(stream, "g");
    // Acknowledgements on their way when the first consumer left may be lost, and events come again.
    const drain = async () => {
      for (;;) await dropped.next();
    };
    await rejects(drain(), "PersistentSubscriptionDroppedError");
    await rejects(
      client.deletePersistentSubscriptionToStream(stream, "g"),
      "PersistentSubscriptionDoesNotExistError",
    );
  },

  async persistent_subscription_to_all() {
    const stream = name();
    const group = randomUUID();
    const settings = K.persistentSubscriptionToAllSettingsFromDefaults({ startFrom: START });
    const filter = K.streamNameFilter({ prefixes: [stream] });
    await client.createPersistentSubscriptionToAll(group, settings, { filter });
    await client.appendToStream(stream, [event("A"), event("B")]);
    const subscription = client.subscribeToPersistentSubscriptionToAll(group);
    const source = reader(subscription);
    for (const type of ["A", "B"]) {
      const found = await source.next();
      assert.equal(found.event.type, type);
      await subscription.ack(found);
    }
    await subscription.unsubscribe();
    await client.deletePersistentSubscriptionToAll(group);
  },

  async a_killed_consumer() {
    const stream = name();
    await client.appendToStream(
      stream,
      ["E0", "E1", "E2"].map((type) => event(type)),
    );
    const settings = K.persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: START });
    await client.createPersistentSubscriptionToStream(stream, "killed", settings);
    const args = [process.argv[1], packageName, "consumer", stream, "killed"];
    const consumer = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    await once(consumer.stdout, "data");
    consumer.kill("SIGKILL");
    const subscription = client.subscribeToPersistentSubscriptionToStream(stream, "killed");
    const source = reader(subscription);
    const seen = new Set();
    while (seen.size < 3) {
      const found = await source.next();
      seen.add(found.event.type);
      await subscription.ack(found);
    }
    await subscription.unsubscribe();
  },

  async metadata() {
    const stream = name();
    await client.appendToStream(stream, [event(), event(), event()]);
    const asked = { maxCount: 2, maxAge: 3_600, mine: { a: [1] } };
    await client.setStreamMetadata(stream, asked);
    assert.deepEqual((await client.getStreamMetadata(stream)).metadata, asked);
    assert.equal((await collect(client.readStream(stream))).length, 2);
    assert.equal((await client.getStreamMetadata(name())).metadata, undefined);
  },

  async delete_and_tombstone() {
    const stream = name();
    await rejects(collect(client.readStream(stream)), "StreamNotFoundError");
    await rejects(
      client.deleteStream(stream, { expectedRevision: 3n, streamState: 3n }),
      "WrongExpectedVersionError",
    );
    await client.appendToStream(stream, [event(), event()]);
    await client.deleteStream(stream, { expectedRevision: 1n, streamState: 1n });
    await rejects(collect(client.readStream(stream)), "StreamNotFoundError");
    await client.appendToStream(stream, event("Again"), expecting(NO_STREAM));
    const [found] = await collect(client.readStream(stream));
    assert.equal(found.event.revision, 2n);
    await client.tombstoneStream(stream);
    await rejects(collect(client.readStream(stream)), "StreamDeletedError");
    await rejects(client.appendToStream(stream, event()), "StreamDeletedError");
    await rejects(client.tombstoneStream(stream), "StreamDeletedError");
  },

  async links() {
    const category = `linked${randomUUID().replaceAll("-", "")}`;
    await client.appendToStream(`${category}-1`, [event("A"), event("B")]);
    const found = await collect(client.readStream(`$ce-${category}`, { resolveLinkTos: true }));
    assert.deepEqual(types(found), ["A", "B"]);
    assert.equal(found[0].link.streamId, `$ce-${category}`);
  },

  async several_streams() {
    if (isLegacy) return;
    const [a, b] = [name(), name()];
    const requests = [
      { streamName: a, expectedState: NO_STREAM, events: [event("A", { metadata: { p: "x" } })] },
      { streamName: b, expectedState: ANY, events: [event("B")] },
    ];
    const appended = await client.multiStreamAppend(requests);
    assert.deepEqual(
      await client
        .multiStreamAppend(requests)
        .then(({ responses }) => responses.map(({ revision }) => revision)),
      [0n, 0n],
    );
    assert.ok(appended.position > 0n);
    const [found] = await collect(client.readStream(a));
    assert.equal(found.event.metadata.p, "x");
    await rejects(
      client.multiStreamAppend([{ streamName: a, expectedState: 7n, events: [event()] }]),
      "WrongExpectedVersionError",
    );
    await rejects(
      client.appendRecords(
        [{ streamName: a, record: event() }],
        [{ type: "streamState", streamName: b, expectedState: NO_STREAM }],
      ),
      "AppendConsistencyViolationError",
    );
    await client.appendRecords([
      { streamName: a, record: event("C") },
      { streamName: b, record: event("D") },
      { streamName: a, record: event("E") },
    ]);
    assert.deepEqual(types(await collect(client.readStream(a))), ["A", "C", "E"]);
  },
};

for (const [step, run] of Object.entries(steps)) {
  try {
    await run();
    process.stdout.write(`${JSON.stringify({ step, ok: true })}\n`);
  } catch (error) {
    process.stdout.write(
      `${JSON.stringify({ step, ok: false, error: `${error?.stack ?? error}`.slice(0, 900) })}\n`,
    );
  }
}
await client.dispose();
process.exit(0);
