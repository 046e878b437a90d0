// Bytes on disk for each event, on a real disk by the real engine: the log, the index, the checks.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { payloadBytes } from "../../bench/load/events.ts";
import { defaultLimits } from "../../src/domain/limits.ts";
import { createEventLog } from "../../src/log/event-log.ts";
import { openLevelStorage, systemClock } from "../../src/storage/leveldb/open.ts";
import { appendRequests } from "./shape.ts";

const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((bytes, { parentPath, name }) => bytes + statSync(join(parentPath, name)).size, 0);
}

test("compressible payloads of 256 bytes take at most twice their size", async () => {
  const events = 20_000;
  const folder = mkdtempSync(join(tmpdir(), "annals-shape-"));
  folders.push(folder);
  const storage = await openLevelStorage({ folder });
  const log = createEventLog({ storage, limits: defaultLimits, clock: systemClock });
  const call = { verb: "preload", events: 100, from: 0, total: events } as const;
  await appendRequests({ log }, call, events / 100);
  await log.stop();
  await storage.close();
  expect(bytesOf(folder) / (events * payloadBytes)).toBeLessThanOrEqual(2);
});
