// The lock on a store's folder. LevelDB's own lock is lost as soon as any code of the same process
// opens and closes its LOCK file. This lock is a listening socket in the folder: the kernel closes
// it with the process, and another process detects it by connecting.
//
// A process that wants the folder first listens under a unique name and then connects to every
// other socket there. If two processes come at the same time, the later one to listen finds the
// earlier one, so that never both get the folder. It is possible that neither gets it; they try
// again.

import { randomBytes } from "node:crypto";
import { createConnection, createServer, type Server } from "node:net";
import { existsSync, statSync } from "node:fs";
import { open, readdir, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StoreHeld, StoreRefused } from "./store-refused.ts";

const attemptsMax = 4;
const retryMsMax = 60;

export interface FolderLock {
  /** Whether a process that held the folder before did not release it. */
  readonly wasLeft: boolean;
  /** Whether the lock is still there: somebody may delete its file, and with it the lock. */
  readonly isHeld: () => boolean;
  release(): Promise<void>;
}

/** Whether a file name is that of a lock's socket, of this process or of one that has ended. */
export function isLockName(name: string): boolean {
  return /^guard-[0-9a-f]{16}\.sock$/.test(name);
}

/** Whether a process holds the folder. Changes nothing there, unlike an attempt to hold it. */
export async function isFolderHeld(folder: string): Promise<boolean> {
  const handle = await open(folder, "r");
  const base = pathOf(handle, folder);
  try {
    const locks = (await readdir(base)).filter(isLockName);
    return (await Promise.all(locks.map((name) => isAlive(join(base, name))))).includes(true);
  } finally {
    await handle.close();
  }
}

/** Throws StoreRefused if this or another process holds the folder. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const handle = await open(folder, "r");
  const base = pathOf(handle, folder);
  try {
    for (let attempt = 1; ; attempt++) {
      const held = await tryLock(folder, base);
      if (held) return lockOf(held, handle);
      if (attempt === attemptsMax) {
        throw new StoreHeld(folder);
      }
      await delay(Math.random() * retryMsMax);
    }
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * A socket's path is limited to 108 bytes, and the folder's path may be longer: its descriptor is
 * used, where `/proc` is mounted.
 */
function pathOf({ fd }: FileHandle, folder: string): string {
  const path = `/proc/self/fd/${fd}`;
  return process.platform === "linux" && existsSync(path) ? path : folder;
}

/** A socket that listens in the folder. */
interface Listening {
  readonly server: Server;
  readonly path: string;
  readonly wasLeft: boolean;
}

function lockOf({ server, path, wasLeft }: Listening, handle: FileHandle): FolderLock {
  const { ino } = statSync(path, { bigint: true });
  return {
    wasLeft,
    isHeld: () => statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === ino,
    async release() {
      await closed(server);
      await handle.close();
    },
  };
}

/** Listens, looks for other locks, and gives up if another process holds the folder. */
async function tryLock(folder: string, base: string): Promise<Listening | undefined> {
  const own = `guard-${randomBytes(8).toString("hex")}.sock`;
  const server = await listen(join(base, own)).catch(({ code }: NodeJS.ErrnoException) => {
    throw new StoreRefused(folder, [`its lock, a Unix socket in it, cannot be made: ${code}`]);
  });
  try {
    const others = (await readdir(base)).filter((name) => isLockName(name) && name !== own);
    const alive = await Promise.all(others.map((name) => isAlive(join(base, name))));
    if (alive.includes(true)) {
      await closed(server);
      return undefined;
    }
    // Sockets of killed processes. A live process would have answered.
    for (const name of others) await rm(join(base, name), { force: true });
    return { server, path: join(base, own), wasLeft: others.length > 0 };
  } catch (error) {
    await closed(server);
    throw error;
  }
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", reject);
    server.listen(path, () => resolve(server));
  });
}

/** Releases the lock, which also removes the socket's file. */
function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

/**
 * Only a refused connection proves that nobody listens. A busy or suspended process may be slow.
 */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== "ECONNREFUSED" && code !== "ENOENT");
    });
  });
}
