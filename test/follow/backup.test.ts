// Backups over the network: whole, then what is new; continued where one was cut off; without what
// the store has removed since; and never of what came corrupted.
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BackupService } from "../../src/gen/annals/v1/backup_service_pb.js";
import { copyFrom } from "../../src/follow/copy-messages.ts";
import { clientOf } from "../../src/client/rpc/service-client.ts";
import { Connection } from "../../src/client/rpc/connection.ts";
import { BackupRefused } from "../../src/storage/leveldb/offline/backup-file.ts";
import { receiveBackup } from "../../src/storage/leveldb/offline/backup-receive.ts";
import { checkBackup } from "../../src/storage/leveldb/offline/backup-read.ts";
import { restore } from "../../src/storage/leveldb/offline/restore.ts";
import type { CopyPart, CopyStart } from "../../src/storage/copy.ts";
import { run } from "../cli/captured-terminal.ts";
import { contentsOf } from "../support/store-folder.ts";
import {
  copiedIn,
  liveOn,
  liveServer,
  removeAll,
  secret,
  type Lived,
} from "../support/varied-history.ts";

let scratch: string;
let lived: Lived;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-copies-"));
  lived = await liveServer(join(scratch, "store"));
});
afterAll(async () => {
  await lived.stop();
  await rm(scratch, { recursive: true });
});

const fresh = (name: string): string => join(scratch, `${name}-${made++}`);
const backUp = (target: string, ...more: string[]) =>
  run(["backup", lived.server.address, target, ...more]);

/** The store that a backup makes is the one that was backed up. */
async function expectSame(backup: string): Promise<void> {
  const target = fresh("restored");
  await restore({ backup, target });
  expect(await copiedIn(target)).toEqual(await copiedIn(join(scratch, "store")));
}

async function holds(folder: string, text: string): Promise<boolean> {
  return [...(await contentsOf(folder)).values()].some((content) => content.includes(text));
}

/** A copy through a function that changes its parts. */
function copying(change: (part: CopyPart, i: number) => CopyPart | undefined) {
  return async function* open(start: CopyStart): AsyncGenerator<CopyPart> {
    const connection = new Connection({ address: lived.server.address });
    try {
      let i = 0;
      for await (const part of copyFrom(clientOf(BackupService, connection), start, {})) {
        const changed = change(part, i++);
        if (changed === undefined) throw new Error("the connection broke");
        yield changed;
      }
    } finally {
      connection.close();
    }
  };
}

const flipped = (value: Uint8Array, at: number): Uint8Array => {
  const bytes = Buffer.from(value);
  bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ 1;
  return bytes;
};

describe("a backup over the network", () => {
  test("is whole, and a later one adds what is new", async () => {
    await liveOn(lived.clients, 1, 60);
    const backup = fresh("backup");
    const first = await backUp(backup);
    expect(first).toMatchObject({ code: 0 });
    await expectSame(backup);
    const told = await (await fetch(`http://${lived.server.address}/metrics`)).text();
    const [, head] = /^annals_head_position (\d+)$/m.exec(told) ?? [];
    expect(told).toMatch(new RegExp(`^annals_backup_position ${head}$`, "m"));
    expect(told).toMatch(/^annals_backup_finished_timestamp_seconds [1-9]/m);
    const before = await contentsOf(backup);
    await liveOn(lived.clients, 2, 30);
    expect(await backUp(backup, "--json")).toMatchObject({ code: 0 });
    await expectSame(backup);
    const after = await contentsOf(backup);
    const logs = [...before].filter(([name]) => name.startsWith("log-"));
    for (const [name, content] of logs) expect(after.get(name)).toBe(content);
    expect(await run(["verify", backup])).toMatchObject({ code: 0 });
  });

  test("no longer has what the store has removed and reclaimed since", async () => {
    const backup = fresh("backup");
    await liveOn(lived.clients, 3, 40);
    await backUp(backup);
    const word = `${secret} 3 `;
    expect(await holds(backup, word)).toBe(true);
    await removeAll(lived.clients, 3);
    await lived.reclaim();
    expect(await backUp(backup)).toMatchObject({ code: 0 });
    expect(await holds(backup, word)).toBe(false);
    await expectSame(backup);
    expect(await backUp(backup)).toMatchObject({ code: 0 });
    await expectSame(backup);
  });

  test("of a store that is written to is that of one moment", async () => {
    const backup = fresh("backup");
    const living = liveOn(lived.clients, 4, 60);
    expect(await backUp(backup)).toMatchObject({ code: 0 });
    await living;
    const target = fresh("restored");
    const { head, chain } = await restore({ backup, target });
    expect(await checkBackup(backup)).toMatchObject({ head, chain });
    expect(await backUp(backup)).toMatchObject({ code: 0 });
    await expectSame(backup);
  });

  test("continues after the parts that were complete when it broke off", async () => {
    const target = fresh("backup");
    for (let broken = 2; broken < 30; broken += 5) {
      let i = 0;
      const open = copying((part) => (i++ < broken ? part : undefined));
      const received = receiveBackup({ target, open, partBytes: 8 * 1024 });
      await received.catch((error: Error) => expect(error.message).toBe("the connection broke"));
      await liveOn(lived.clients, 100 + broken, 5);
      await removeAll(lived.clients, 100 + broken);
      await lived.reclaim();
    }
    expect(await backUp(target)).toMatchObject({ code: 0 });
    await expectSame(target);
  });

  test("keeps as many as it was told, which share their files", async () => {
    const backups = fresh("backups");
    for (let i = 0; i < 3; i++) {
      await liveOn(lived.clients, 200 + i, 3);
      expect(await backUp(backups, "--keep", "2")).toMatchObject({ code: 0 });
      await new Promise((resolve) => setTimeout(resolve, 1_100));
    }
    const names = (await readdir(backups)).toSorted();
    expect(names).toHaveLength(2);
    await expectSame(join(backups, names[1] ?? ""));
    await checkBackup(join(backups, names[0] ?? ""));
  });

  test("goes on at its times until it is stopped", async () => {
    const backup = fresh("backup");
    const stop = new AbortController();
    let runs = 0;
    const ended = run(["backup", lived.server.address, backup, "--every", "200ms"], {
      signal: stop.signal,
      onOutput: (text) => {
        runs = text.split("\n").length - 1;
        if (runs === 3) stop.abort();
      },
    });
    await ended;
    expect(runs).toBe(3);
    await expectSame(backup);
  });

  test("says what is wrong where there is no server", async () => {
    const gone = await run(["backup", "127.0.0.1:1", fresh("backup")]);
    expect(gone.code).toBe(1);
    expect(gone.errors).toContain("no server at 127.0.0.1:1");
  });
});

describe("what comes corrupted is refused, and the backup stays as it was:", () => {
  let backup: string;
  let before: string;
  const hash = async (): Promise<string> => {
    const digest = createHash("sha256");
    for (const name of ["BACKUP"]) digest.update(await readFile(join(backup, name)));
    return digest.digest("hex");
  };
  beforeAll(async () => {
    backup = fresh("backup");
    await backUp(backup);
    before = await hash();
    await liveOn(lived.clients, 300, 30);
    await removeAll(lived.clients, 300);
    await lived.reclaim();
  });

  type Change = (part: CopyPart) => CopyPart | undefined;
  const commits =
    (change: (chunks: readonly Uint8Array[]) => readonly Uint8Array[]): Change =>
    (part) =>
      part.kind === "commits"
        ? { ...part, commits: { ...part.commits, chunks: change(part.commits.chunks) } }
        : part;
  const faults: [string, Change][] = [
    [
      "a bit of a chunk",
      commits(([first, ...rest]) => [flipped(first as Uint8Array, 70), ...rest]),
    ],
    ["a header", commits(([first, ...rest]) => [flipped(first as Uint8Array, 17), ...rest])],
    ["a missing chunk", commits(([, ...rest]) => rest)],
    ["a repeated chunk", commits((chunks) => [...chunks, ...chunks.slice(-1)])],
    ["a cut chunk", commits(([first]) => [(first as Uint8Array).subarray(0, 40)])],
    [
      "a rewritten chunk",
      (part) =>
        part.kind === "commits"
          ? {
              ...part,
              commits: {
                ...part.commits,
                rewritten: part.commits.rewritten.map((value) => flipped(value, 200)),
              },
            }
          : part,
    ],
    [
      "a side value",
      (part) =>
        part.kind === "side-values"
          ? {
              ...part,
              entries: part.entries.map(({ key, value }) => ({
                key,
                value: value && flipped(value, 3),
              })),
            }
          : part,
    ],
    [
      "a missing side value",
      (part) => (part.kind === "side-values" ? { ...part, entries: part.entries.slice(1) } : part),
    ],
    [
      "another end",
      (part) =>
        part.kind === "state"
          ? { ...part, state: { ...part.state, position: part.state.position - 1 } }
          : part,
    ],
    ["no end", (part) => (part.kind === "state" ? undefined : part)],
    [
      "another store",
      (part) =>
        part.kind === "begin"
          ? { ...part, store: { ...part.store, storeId: crypto.randomUUID() } }
          : part,
    ],
  ];
  test.each(faults)("%s", async (name, change) => {
    const received = receiveBackup({ target: backup, open: copying(change), partBytes: 4_096 });
    if (name === "no end") await expect(received).rejects.toThrow("the connection broke");
    else await expect(received).rejects.toBeInstanceOf(BackupRefused);
    expect(await hash()).toBe(before);
    await checkBackup(backup);
  });

  test("after all of that, the next run completes it", async () => {
    expect(await backUp(backup)).toMatchObject({ code: 0 });
    await expectSame(backup);
  });
});
