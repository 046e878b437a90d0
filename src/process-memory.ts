// How much memory the process may have, and what part of its caches and buffers it therefore keeps.
// docs/reliability.md adds up what everything may take together.

import { totalmem } from "node:os";

/** With as much, everything has the size that was found best by measurement. */
const roomyBytes = 1024 * 1024 * 1024;
const smallShare = 1 / 4;

/** Of the sizes of caches and buffers, for a process that may have so many bytes. */
export function shareOf(bytes: number): number {
  return bytes < roomyBytes ? smallShare : 1;
}

/** The limit of its container or service, or else the memory of the machine. */
function limitBytes(): number {
  // Without a limit, it is 0 or more than there is.
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

export const memoryShare = shareOf(limitBytes());
