// The conformance tests of HTTP/2, all of them, over TCP, TLS and a Unix socket (which h2spec does
// not speak: a relay does it for it).

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { encodeHeaders } from "../../src/http2/hpack-encoder.ts";
import { Http2Server } from "../../src/http2/server.ts";
import { makeAuthority } from "../support/certificates.ts";
import { build, missingTool } from "./build-cache.ts";
import { repository } from "./live-server.ts";
import { notRun, printReport, ran } from "./report.ts";
import { h2spec } from "./toolchains.ts";

const timeout = 600_000;
const folder = mkdtempSync(join(tmpdir(), "h2spec-"));
const head = encodeHeaders([[":status", "200"]]);
const faults: unknown[] = [];
let held = 0;
const server = new Http2Server({
  budgetOf: () => ({
    take(bytes) {
      held += bytes;
      return true;
    },
    give(bytes) {
      held -= bytes;
    },
  }),
  onStream: (stream) => ({
    onData: (part) => stream.release(part.length),
    onEnd() {
      stream.respond(head);
      stream.write(Buffer.from("hello"));
      stream.end();
    },
    onRefused() {},
    onSent() {},
    onReset() {},
  }),
  onFault: (error) => faults.push(error),
});

afterAll(async () => {
  await server.stop(0);
  rmSync(folder, { recursive: true });
  printReport();
});

test.for(["TCP", "TLS", "a Unix socket"])(
  "every test of h2spec passes over %s, and nothing stays held",
  { timeout },
  async (transport, { skip }) => {
    const missing = await missingTool(h2spec);
    if (missing !== undefined) {
      notRun("h2spec", missing);
      skip(`not run: ${missing}`);
    }
    const sources = ["go.mod", "go.sum"].map((name) => {
      return [name, join(repository, "test/clients/h2spec", name)] as const;
    });
    const { folder: built, seconds } = await build(h2spec, new Map(sources));
    const since = performance.now();
    const { port, close } = await listen(transport);
    const tls = transport === "TLS" ? ["-t", "-k"] : [];
    // The strict ones too; on a busy machine an answer may take some seconds.
    const args = ["-h", "127.0.0.1", "-p", `${port}`, "-S", "-o", "10", ...tls];
    const said = await new Promise<string>((resolve) => {
      execFile(join(built, "h2spec"), args, (_, stdout) => resolve(stdout));
    });
    close();
    ran(`h2spec over ${transport}`, seconds, (performance.now() - since) / 1_000);
    expect(said.split("Failures:").at(-1)?.slice(-4_000)).toContain("0 skipped, 0 failed");
    while (server.connectionCount > 0) await new Promise((resolve) => setImmediate(resolve));
    expect([held, faults]).toEqual([0, []]);
  },
);

async function listen(transport: string): Promise<{ port: number; close: () => void }> {
  if (transport === "a Unix socket") {
    const path = join(folder, "socket");
    await server.listen({ path });
    const relay = createServer({ allowHalfOpen: true }, (from) => {
      const to = connect({ path, allowHalfOpen: true });
      from.pipe(to).pipe(from);
      from.on("error", () => to.destroy());
      to.on("error", () => from.destroy());
    });
    await new Promise<void>((resolve) => void relay.listen(0, "127.0.0.1", resolve));
    return { port: (relay.address() as AddressInfo).port, close: () => relay.close() };
  }
  const { cert, key } = makeAuthority(folder, "authority");
  const tls = { cert: readFileSync(cert), key: readFileSync(key) };
  const bound = await server.listen(
    { port: 0, host: "127.0.0.1" },
    transport === "TLS" ? tls : undefined,
  );
  return { port: (bound as AddressInfo).port, close() {} };
}
