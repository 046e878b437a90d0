// A reader that stands still in front of a server at full speed: it holds a bounded number of
// bytes, whatever is there to be read, and the calls beside it go on.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../../src/client/sdk.ts";
import { startServer, temporaryFolder, type RunningServer } from "../../cli/running-server.ts";

const MiB = 1024 * 1024;
const eventCount = 40;
const script = fileURLToPath(new URL("stalled-reader.ts", import.meta.url));

let server: RunningServer;
beforeAll(async () => {
  server = await startServer(temporaryFolder());
  const client = connect({ address: server.address });
  const data = "x".repeat(2 * MiB);
  for (let number = 0; number < eventCount; number += 1) {
    await client.append(`s-${number % 3}`, { type: "Large", data });
  }
  client.close();
});
afterAll(() => server.kill());

test.each(["read", "subscribe"])("%s", async (verb) => {
  const argv = ["--expose-gc", script, server.address, verb, String(eventCount)];
  const { stdout } = await promisify(execFile)(process.execPath, argv);
  const { seen, bufferBytes, rssBytes } = JSON.parse(stdout) as Record<string, number>;
  expect(seen).toBe(eventCount);
  // The window of 4 MiB, a message that is being put together, one before and one behind the gate;
  // what grpc-js would hold by itself is sixteen messages more, and the whole log is 80 MiB.
  expect(bufferBytes).toBeLessThan(24 * MiB);
  expect(rssBytes).toBeLessThan(80 * MiB);
});
