// Looks each second whether the files of an open store are still there and its own. An operator, or
// a script that cleans up, may delete the lock (and then start a second server), CURRENT, the
// MANIFEST, a table, or the whole folder. LevelDB would not notice for hours. Tables are never
// written again, so that one that has changed is damaged, or was touched by somebody else.

import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { liveManifest, liveTables } from "../files/database-check.ts";
import { nodeDelay, type Delay } from "../write/write-guard.ts";

export interface FolderWatchParts {
  readonly folder: string;
  /** LevelDB's folder. */
  readonly database: string;
  /** Whether the lock on the folder is still there. */
  readonly isHeld: () => boolean;
  /** Whether LevelDB is being reopened, so that its files change. */
  readonly isReopening: () => boolean;
  /** Called once, with what is missing. */
  readonly lost: (what: string, isTable: boolean) => void;
  /** Called with the path of a table whose length or time is another than it was. */
  readonly changed?: ((table: string) => void) | undefined;
  /** Time between two looks. Absent: a second. */
  readonly lookEveryMs?: number | undefined;
  readonly delay?: Delay | undefined;
}

export interface FolderWatch {
  /** Resolves when nothing is looked at any more. */
  stop(): Promise<void>;
}

const lookEveryMsDefault = 1_000;
/** Tables looked at in one look; the others have their turn in the next ones. */
const tablesAtOnceMax = 64;
/** Files that are never replaced while the store is open. */
const constantFiles = ["MARK", join("log", "LOCK")];

export async function startFolderWatch(parts: FolderWatchParts): Promise<FolderWatch> {
  const watching = new Watching(parts);
  await watching.remember();
  const ended = watching.run();
  return {
    async stop() {
      watching.stop();
      await ended;
    },
  };
}

class Watching {
  private readonly parts: FolderWatchParts;
  private readonly identities = new Map<string, string>();
  /** The time of LevelDB's folder when nothing was missing there. */
  private sound: bigint | undefined;
  /** The live tables then, and what they were like. */
  private tables: readonly string[] = [];
  private turn = 0;
  private states = new Map<string, string>();
  private stopped = false;
  private wake: () => void = () => {};

  constructor(parts: FolderWatchParts) {
    this.parts = parts;
  }

  async remember(): Promise<void> {
    for (const name of ["", ...constantFiles]) {
      const identity = await identityOf(join(this.parts.folder, name));
      if (identity !== undefined) this.identities.set(name, identity);
    }
    this.tables = await liveTables(this.parts.database);
    for (const path of this.tables) {
      const state = await stateOf(path);
      if (state !== undefined) this.states.set(path, state);
    }
  }

  /** Looks until it is stopped or something is missing. */
  async run(): Promise<void> {
    for (;;) {
      await this.pause();
      if (this.stopped) return;
      const what = await this.look().catch(() => undefined);
      if (what === undefined) continue;
      if (!this.stopped) this.parts.lost(what, what.startsWith("table "));
      return;
    }
  }

  stop(): void {
    this.stopped = true;
    this.wake();
  }

  /** Stopping ends it. It may be stopped during a look, when there is no pause to end. */
  private pause(): Promise<void> {
    if (this.stopped) return Promise.resolve();
    const { delay = nodeDelay, lookEveryMs = lookEveryMsDefault } = this.parts;
    return new Promise((resolve) => {
      const prevent = delay(lookEveryMs, resolve);
      this.wake = () => {
        prevent();
        resolve();
      };
    });
  }

  /** What is missing, in words. Undefined: nothing. Throws where it cannot be told now. */
  private async look(): Promise<string | undefined> {
    const { folder, isHeld, isReopening } = this.parts;
    const present = await identityOf(folder);
    if (present !== this.identities.get("")) return `${folder} was deleted, moved or replaced`;
    if (!isHeld()) {
      return "the folder's lock (guard-*.sock) was deleted: another server may open the store";
    }
    for (const name of constantFiles) {
      const known = this.identities.get(name);
      if (known === undefined || (await identityOf(join(folder, name))) === known) continue;
      return `${name} was deleted or replaced`;
    }
    if ((await identityOf(join(folder, "IDENTITY"))) === undefined) return "IDENTITY was deleted";
    return isReopening() ? undefined : this.lookAtDatabase();
  }

  private async lookAtDatabase(): Promise<string | undefined> {
    const { database, isReopening } = this.parts;
    // What is in the folder changes with its time: then only is the MANIFEST read.
    const { mtimeNs } = await stat(database, { bigint: true });
    if (mtimeNs === this.sound) {
      await this.lookAtTables();
      return undefined;
    }
    const missing = await missingFile(database);
    // LevelDB may have replaced it between two looks.
    const again = missing === undefined ? undefined : await missingFile(database);
    this.sound = missing === undefined ? mtimeNs : undefined;
    if (missing === undefined) this.tables = await liveTables(database);
    return again === missing && !isReopening() ? missing : undefined;
  }

  private async lookAtTables(): Promise<void> {
    const { tables, states } = this;
    if (this.turn >= tables.length) {
      this.turn = 0;
      this.states = new Map(tables.flatMap((path) => pairIn(states, path)));
    }
    const some = tables.slice(this.turn, (this.turn += tablesAtOnceMax));
    const found = await Promise.all(some.map((path) => stateOf(path)));
    for (const [i, path] of some.entries()) {
      const [state, known] = [found[i], this.states.get(path)];
      if (state === undefined) continue;
      this.states.set(path, state);
      if (known !== undefined && state !== known) this.parts.changed?.(path);
    }
  }
}

/** A file that LevelDB needs and that is not there. Undefined: none. */
async function missingFile(database: string): Promise<string | undefined> {
  if ((await identityOf(join(database, "CURRENT"))) === undefined) return "log/CURRENT was deleted";
  try {
    const before = await liveTables(database);
    const there = new Set(await readdir(database));
    const missing = before.map((path) => basename(path)).filter((name) => !there.has(name));
    if (missing.length === 0) return undefined;
    const { tables } = await liveManifest(database);
    const lost = missing.find((name) => tables.has(Number.parseInt(name, 10)));
    return lost === undefined ? undefined : `table log/${lost} was deleted`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "the MANIFEST was deleted";
    throw error;
  }
}

function pairIn(states: ReadonlyMap<string, string>, path: string): [string, string][] {
  const state = states.get(path);
  return state === undefined ? [] : [[path, state]];
}

/** What changes whenever a table is written to or replaced. Undefined: it is not there. */
async function stateOf(path: string): Promise<string | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found && `${found.ino} ${found.size} ${found.mtimeNs}`;
}

/** Tells a file from another one at its path. Undefined: there is none. */
async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev} ${ino}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
