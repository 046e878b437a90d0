// The audit trail: what is told is written once a second, to the file and to the store, and what
// strangers do cannot fill either.
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AuditTrail } from "../../src/access/audit.ts";
import type { NewEvent } from "../../src/domain/event.ts";
import { decodeRecord } from "../../src/domain/record.ts";
import { recordingLogger } from "../support/running-server.ts";

let folder: string;
let file: string;
const clock = { ms: 0 };
let logged: ReturnType<typeof recordingLogger>;
let trail: AuditTrail;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "annals-"));
  file = join(folder, "audit.jsonl");
  clock.ms = Date.parse("2026-01-31T12:00:00Z");
  logged = recordingLogger();
  trail = new AuditTrail({ file, watcher: logged.logger, nowMs: () => clock.ms });
});
afterEach(async () => {
  await trail.close();
  rmSync(folder, { recursive: true, force: true });
});

const lines = (): Record<string, unknown>[] =>
  readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe("the audit trail", () => {
  test("is lines of JSON in a file for its owner, and events of its own stream", async () => {
    const stored: NewEvent[] = [];
    trail.storeIn(async (events) => void stored.push(...events));
    trail.denied({ peer: "10.0.0.1", reason: "PERMISSION_DENIED" });
    trail.managed({ principal: "ann", method: "UpdateStream", outcome: "done" });
    trail.accessChanged({ change: "token revoked", token: "t" });
    await trail.flush();
    const time = "2026-01-31T12:00:00.000Z";
    expect(lines()).toEqual([
      { time, event: "denied", peer: "10.0.0.1", reason: "PERMISSION_DENIED", count: 1 },
      {
        time,
        event: "managed",
        principal: "ann",
        method: "UpdateStream",
        outcome: "done",
        count: 1,
      },
      { time, event: "access-changed", change: "token revoked", token: "t", count: 1 },
    ]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(stored.map(({ stream, type }) => [stream, type])).toEqual([
      ["$audit", "$AuditDenied"],
      ["$audit", "$AuditManaged"],
      ["$audit", "$AuditAccessChanged"],
    ]);
    const { data, contentType } = decodeRecord(stored[0]?.body ?? new Uint8Array());
    expect(contentType).toBe("application/json");
    expect(JSON.parse(Buffer.from(data).toString())).toMatchObject({ time, peer: "10.0.0.1" });
  });

  test("counts what is the same, and goes on in a new file after a rotation", async () => {
    for (let i = 0; i < 5; i++) trail.denied({ peer: "a" });
    trail.denied({ peer: "b" });
    await trail.flush();
    expect(lines().map(({ count }) => count)).toEqual([5, 1]);
    renameSync(file, `${file}.1`);
    trail.denied({ peer: "a" });
    await trail.flush();
    expect(lines()).toHaveLength(1);
  });

  test("takes denied calls at a rate, counts the others, and says so", async () => {
    for (let i = 0; i < 500; i++) trail.denied({ peer: `10.0.${i}` });
    trail.managed({ method: "UpdateStream" });
    await trail.flush();
    expect(lines()).toHaveLength(62);
    expect(lines().at(-1)).toMatchObject({ event: "dropped", count: 440 });
    expect(logged.lines).toMatchObject([{ level: "warn", count: 440 }]);
    clock.ms += 10_000;
    for (let i = 0; i < 500; i++) trail.denied({ peer: `10.1.${i}` });
    await trail.flush();
    expect(lines()).toHaveLength(62 + 10 + 1);
  });

  test("holds a thousand entries at most", async () => {
    for (let i = 0; i < 1_500; i++) trail.managed({ method: "UpdateStream" });
    await trail.flush();
    expect(lines()).toHaveLength(1_001);
    expect(lines().at(-1)).toMatchObject({ event: "dropped", count: 500 });
  });

  test("reports what cannot be written, and goes on", async () => {
    rmSync(folder, { recursive: true });
    trail.storeIn(() => Promise.reject(new Error("disk full")));
    trail.managed({ method: "UpdateStream" });
    await trail.flush();
    const lost = logged.lines.filter(({ message }) => message === "audit entries are lost");
    expect(lost.map(({ where }) => where)).toEqual([file, "$audit"]);
  });
});
