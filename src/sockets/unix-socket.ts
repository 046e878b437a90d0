// Prepares the path of a Unix socket: its folder may be entered only by users who may connect, and
// a socket that a killed process left behind is removed. A socket on which a process still listens
// is never removed.

import { lstat, mkdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";

/** Who may connect. */
export type SocketAccess = "user" | "group" | "all";

/** The modes of the socket, and of its folder if it is created. */
export const socketModes: Readonly<Record<SocketAccess, { socket: number; folder: number }>> = {
  user: { socket: 0o600, folder: 0o700 },
  group: { socket: 0o660, folder: 0o750 },
  all: { socket: 0o666, folder: 0o755 },
};

/** Throws an `Error` with a message for the operator. */
export async function clearSocketPath(path: string, folderMode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: folderMode });
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} is there and is not a socket`);
  if (await isListenedOn(path)) throw new Error(`${path} is in use by another process`);
  await unlink(path);
}

/** Only a refused connection proves that nobody listens. */
function isListenedOn(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
      else reject(error);
    });
  });
}

/**
 * Binds under a mask that makes new files, and so the socket, private to this user. The mask
 * belongs to the process, so other files created meanwhile are private too.
 */
export async function privately<T>(bind: () => Promise<T>): Promise<T> {
  const mask = process.umask(0o077);
  try {
    return await bind();
  } finally {
    process.umask(mask);
  }
}
