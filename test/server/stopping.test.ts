// An orderly end: nothing acknowledged is lost, what waits is answered, streams hear why they end,
// and clients that do not let go cannot keep the server from ending.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { startServer } from "../../src/server.ts";
import { openMemoryStorage } from "../../src/storage/leveldb/open.ts";
import { Calls, collect, failedOf, failureOf, nextOf } from "../support/calls.ts";
import { messageFrame, RawConnection } from "../support/raw-connection.ts";
import { configOf, recordingLogger, startTestServer } from "../support/running-server.ts";

const m = EventStoreService.method;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "annals-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a server that stops", () => {
  test("tells subscriptions and pipes why they end", async () => {
    const server = await startTestServer();
    await server.calls.unary(m.append, { stream: "a", events: [{ type: "T" }] });
    const live = server.calls.stream(m.subscribe, {})[Symbol.asyncIterator]();
    await nextOf(live);
    await nextOf(live);
    const pipe = server.calls.pipe(m.appendPipe);
    pipe.send({ append: { stream: "a", events: [{ type: "T" }] } });
    await nextOf(pipe.answers);
    await nextOf(live);
    const stopped = server.stop();
    expect(await failedOf(nextOf(live))).toMatchObject({ code: 14, reason: "STOPPING" });
    expect(await failedOf(nextOf(pipe.answers))).toMatchObject({ code: 14, reason: "STOPPING" });
    await stopped;
    expect(server.lines.filter(({ level }) => level === "error" || level === "warn")).toEqual([]);
  });

  test("answers the appends that wait, and what it answered is there again", async () => {
    const { logger } = recordingLogger();
    const config = configOf("--data", folder, "--port", "0", "--shutdown-grace-seconds", "1");
    const server = await startServer(config, logger);
    const calls = new Calls(server.addresses[0] ?? "");
    await calls.unary(m.getInfo, {});
    const appends = Array.from({ length: 200 }, (_, i) =>
      calls.unary(m.append, { stream: `s-${i % 3}`, events: [{ type: "T" }] }).then(
        (answer) => Number(answer.firstPosition),
        (error: unknown) => failureOf(error),
      ),
    );
    await appends[20];
    await server.stop();
    const outcomes = await Promise.all(appends);
    calls.close();
    const acknowledged = outcomes.filter((one) => typeof one === "number");
    for (const one of outcomes) if (typeof one !== "number") expect([1, 14]).toContain(one.code);
    expect(acknowledged.length).toBeGreaterThan(20);

    const again = await startServer(config, logger);
    const reader = new Calls(again.addresses[0] ?? "");
    const messages = await collect(reader.stream(m.read, {}));
    const stored = messages.flatMap(({ message }) =>
      message.case === "batch" ? message.value.events.map(({ position }) => Number(position)) : [],
    );
    expect(stored).toEqual(expect.arrayContaining(acknowledged));
    expect(stored).toEqual(stored.map((_, i) => i + 1));
    reader.close();
    await again.stop();
  });

  test("cuts off clients that do not let go", async () => {
    const server = await startTestServer(["--shutdown-grace-seconds", "0"]);
    const value = Buffer.alloc(1024 * 1024);
    const large = { type: "T", payload: { case: "data", value } } as const;
    await server.calls.unary(m.append, { stream: "a", events: [large] });
    const connection = new RawConnection(Number(server.address.split(":")[1]));
    for (const name of ["Read", "Subscribe", "AppendPipe"]) {
      const stream = connection.request(`/annals.v1.EventStoreService/${name}`);
      stream.write(messageFrame(Buffer.alloc(0)));
      if (name !== "AppendPipe") stream.end();
      await new Promise((resolve) => stream.once("response", resolve));
    }
    await server.stop();
    expect(server.lines.some(({ message }) => message === "open calls were cut off")).toBe(true);
    connection.close();
  });

  test("can be told to stop twice", async () => {
    const server = await startTestServer();
    await Promise.all([server.stop(), server.stop()]);
    expect(await server.stop()).toBeUndefined();
  });

  test("takes no more calls", async () => {
    const server = await startTestServer();
    const late = new Calls(server.address);
    await server.stop();
    expect(await failedOf(late.unary(m.getInfo, {}))).toMatchObject({ code: 14 });
    late.close();
  });
});

describe("a server that cannot start", () => {
  test("leaves nothing open behind it", async () => {
    const first = await startTestServer();
    const port = first.address.split(":")[1] ?? "";
    let opened = 0;
    const openStorage = () => (opened++, openMemoryStorage());
    const config = configOf("--memory", "--port", port);
    const { logger } = recordingLogger();
    await expect(startServer(config, logger, { openStorage })).rejects.toThrow(
      `cannot listen on 127.0.0.1:${port}`,
    );
    expect(opened).toBe(0);
    await first.stop();
  });

  test("says so where another process has the store", async () => {
    const { logger } = recordingLogger();
    const config = configOf("--data", folder, "--port", "0");
    const first = await startServer(config, logger);
    await expect(startServer(config, logger)).rejects.toThrow("not served");
    await first.stop();
    await (await startServer(config, logger)).stop();
  });
});
