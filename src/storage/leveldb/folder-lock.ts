// A second lock of our own on the store's folder. LevelDB's is lost as soon as any code of the same
// process opens and closes its LOCK file. Ours is a listening socket in the folder: the kernel
// drops it with the process, and another process finds out by connecting.

import { createConnection, createServer, type Server } from "node:net";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { StoreRefused } from "./store-refused.ts";

const name = "guard.sock";

export interface FolderLock {
  release(): Promise<void>;
}

/** Throws StoreRefused where another process, or this one, holds the folder. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const handle = await open(folder, "r");
  // A socket's path is short (108 bytes); the folder's may be long: go by way of its descriptor.
  const path =
    process.platform === "linux" ? `/proc/self/fd/${handle.fd}/${name}` : join(folder, name);
  try {
    const server = (await listen(path)) ?? (await takeOver(path, folder));
    return {
      async release() {
        await new Promise((resolve) => server.close(resolve));
        await handle.close();
      },
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The socket is there: whoever made it lives, or it is stale and goes. */
async function takeOver(path: string, folder: string): Promise<Server> {
  if (await answers(path)) {
    throw new StoreRefused(folder, ["another process has the store open"]);
  }
  await rm(path, { force: true });
  const server = await listen(path);
  if (server) return server;
  throw new StoreRefused(folder, ["another process is opening the store"]);
}

function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen(path, () => resolve(server));
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
