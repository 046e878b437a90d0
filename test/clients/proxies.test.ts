// The snippets of docs/proxies.md, each run by its proxy in front of a server, with only the
// addresses and times replaced. Calls are silent for longer than the proxy's own default would
// allow: a day becomes some seconds, and for comparison the default becomes less than that.
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.js";
import { Calls, collect } from "../support/calls.ts";
import { build, missingTool, sourcesOf } from "./build-cache.ts";
import { startLiveServer, type LiveServer } from "./live-server.ts";
import { proxies, ready, short, startProxy, type Proxy, type RunningProxy } from "./proxy.ts";
import { notRun, printReport, ran } from "./report.ts";
import { converse } from "./run-client.ts";
import { languages } from "./toolchains.ts";
import { code, expectedOf, type WireNumbers } from "./wire-conversation.ts";

const m = EventStoreService.method;
const mebibyte = 1024 * 1024;
/** Two of these are nearly the largest append, of 4 MiB. */
const halfBytes = 2 * mebibyte - 100_000;
/** How long calls are silent. */
const silentMs = 2_000;

let server: LiveServer;
let running: RunningProxy | undefined;
let calls: Calls | undefined;
beforeEach(async () => {
  server = await startLiveServer();
});
afterEach(async () => {
  calls?.close();
  await running?.stop();
  calls = running = undefined;
  await server.stop();
});
afterAll(printReport);

async function through(proxy: Proxy, programs: string, silence?: string): Promise<Calls> {
  running = await startProxy(proxy, programs, server.address, silence);
  calls = new Calls(running.address, undefined, { "grpc.max_receive_message_length": -1 });
  await calls.unary(m.getInfo, {});
  return calls;
}

const event = (bytes: number) => ({
  type: "T",
  payload: { case: "data", value: new Uint8Array(bytes) } as const,
});

describe.each(proxies)("$name with the page's snippet", (proxy) => {
  test(
    "passes appends, large messages, reads and errors",
    { timeout: 300_000 },
    async ({ skip }) => {
      const programs = await ready(proxy, skip);
      const since = performance.now();
      const client = await through(proxy, programs);
      // An append at the limit of events and of the message.
      const half = [event(halfBytes), event(halfBytes)];
      const { lastPosition } = await client.unary(m.append, { stream: "big", events: half });
      expect(lastPosition).toBe(2n);
      const read = await collect(
        client.stream(m.read, { selection: { case: "stream", value: "big" } }),
      );
      const events = read.flatMap(({ message }) =>
        message.case === "batch" ? message.value.events : [],
      );
      expect(events.map(({ data }) => data.length)).toEqual([halfBytes, halfBytes]);
      // The largest details that an error has come through whole.
      const names = Array.from({ length: 40 }, (_, i) => `${i}-${"n".repeat(180)}`);
      const expectations = names.map((stream) => ({
        stream,
        expected: { case: "expectedVersion", value: 7n } as const,
      }));
      const refused = await client.failure(m.append, {
        stream: "s",
        events: [event(1)],
        expectations,
      });
      expect(refused).toMatchObject({ code: 10, reason: "APPEND_CONFLICT" });
      expect(refused.appendConflict?.streams.length).toBeGreaterThan(3);
      // Refused from the length alone, while the client still sends.
      const tooLarge = await client.failure(m.append, {
        stream: "s",
        events: [event(9 * mebibyte)],
      });
      expect(tooLarge.code).toBe(8);
      expect((await client.unary(m.getInfo, {})).head).toBe(2n);
      ran(`${proxy.name}, calls`, undefined, (performance.now() - since) / 1_000);
    },
  );

  test(
    "keeps a pipe of more than the body limit open, silent for long",
    { timeout: 300_000 },
    async ({ skip }) => {
      const programs = await ready(proxy, skip);
      const client = await through(proxy, programs);
      const pipe = client.pipe(m.appendPipe);
      const subscription = client.stream(m.subscribe, {
        selection: { case: "stream", value: "p" },
        checkpointInterval: { seconds: 3_600n },
      });
      const watch = client.stream(Health.method.watch, { service: "" });
      const messages = subscription[Symbol.asyncIterator]();
      const watched = watch[Symbol.asyncIterator]();
      expect((await watched.next()).value).toMatchObject({ status: 1 });
      expect((await messages.next()).value).toMatchObject({ message: { case: "caughtUp" } });
      for (let round = 0; round < 2; round += 1) {
        for (let i = 0; i < 6; i += 1) {
          pipe.send({ append: { stream: "p", events: [event(mebibyte / 2)] } });
          const { value } = (await pipe.answers.next()) as { value: { outcome: { case: string } } };
          expect(value.outcome.case).toBe("appended");
          const got = (await messages.next()).value as { message: { case: string } };
          expect(got.message.case).toBe("batch");
        }
        await pause(silentMs);
      }
      pipe.end();
      expect(await pipe.answers.next()).toMatchObject({ done: true });
      subscription.cancel();
      watch.cancel();
    },
  );

  test(
    "would end a silent pipe with a time as short as its default",
    { timeout: 300_000 },
    async ({ skip }) => {
      const programs = await ready(proxy, skip);
      const client = await through(proxy, programs, short);
      const pipe = client.pipe(m.appendPipe);
      pipe.send({ append: { stream: "p", events: [event(1)] } });
      await pipe.answers.next();
      await expect(pipe.answers.next()).rejects.toThrow(
        /INTERNAL|UNAVAILABLE|CANCELLED|UNKNOWN|DEADLINE_EXCEEDED/,
      );
    },
  );
});

interface Through {
  readonly numbers: WireNumbers;
  /** Of a call with more metadata than the proxy takes: nginx and HAProxy end the connection. */
  readonly refused: number;
}

/** nginx has a connection to the server for each call, and HAProxy 16 KiB for all headers. */
const wireThrough: Readonly<Record<string, Through>> = {
  nginx: {
    numbers: { WIRE_STREAMS: 400, WIRE_FIELDS_TAKEN: 20, WIRE_FIELDS_REFUSED: 40 },
    refused: code.unavailable,
  },
  haproxy: {
    numbers: { WIRE_STREAMS: 5_000, WIRE_FIELDS_TAKEN: 12, WIRE_FIELDS_REFUSED: 20 },
    refused: code.unavailable,
  },
  envoy: {
    numbers: { WIRE_STREAMS: 5_000, WIRE_FIELDS_TAKEN: 50, WIRE_FIELDS_REFUSED: 70 },
    refused: code.internal,
  },
};

describe.each(proxies)("through $name", (proxy) => {
  test("grpc-go sees what it sees of the server", { timeout: 600_000 }, async ({ skip }) => {
    const programs = await ready(proxy, skip);
    const go = languages.find(({ name }) => name === "go");
    const run = go?.wire?.["grpc-go"];
    if (go === undefined || run === undefined) throw new Error("there is no grpc-go");
    const missing = await missingTool(go);
    if (missing !== undefined) {
      notRun("go", missing);
      skip(`not run: ${missing}`);
    }
    const { folder } = await build(go, sourcesOf("test/clients/go"));
    const since = performance.now();
    const { numbers, refused } = wireThrough[proxy.name] as Through;
    running = await startProxy(proxy, programs, server.address, "600s");
    const variables = { ...numbers, ANNALS_ADDRESS: running.address };
    const said = await converse(run, folder, variables, () => server.restart());
    ran(`grpc-go through ${proxy.name}`, undefined, (performance.now() - since) / 1_000);
    expect(said).toEqual(expectedOf(numbers, { metadata: { refused } }));
  });
});
