// How many connections may wait to be accepted.
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Listener } from "../../src/sockets/listener.ts";

test("as many connections wait for a busy server as it may have", async () => {
  const folder = await mkdtemp(join(tmpdir(), "annals-listener-"));
  const connectionsMax = 5;
  const listener = new Listener({
    limits: { connectionsMax, connectionsPerAddressMax: connectionsMax, handshakeMs: 1_000 },
    protocols: [],
    onSocket() {},
    onRefusal() {},
  });
  const path = join(folder, "socket");
  await listener.listen({ path });
  const sockets: Socket[] = [];
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    listener.stop();
    listener.destroy();
    await rm(folder, { recursive: true });
  });
  // All in one turn of the event loop, so that the server accepts none of them meanwhile.
  const outcomes = Array.from({ length: 20 }, () => {
    const socket = connect(path);
    sockets.push(socket);
    return new Promise<string>((resolve) => {
      socket.once("connect", () => resolve("waited"));
      socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code ?? ""));
    });
  });
  const counts = Map.groupBy(await Promise.all(outcomes), (outcome) => outcome);
  // Linux lets one more wait than it is told.
  expect(counts.get("waited")).toHaveLength(connectionsMax + 1);
  expect(counts.get("EAGAIN")).toHaveLength(20 - connectionsMax - 1);
});
