// How much memory the process may have, and what part of its caches and buffers it therefore keeps.
// docs/reliability.md adds up what everything may take together. When the process has become idle,
// it gives back what a collection of garbage frees.

import { totalmem } from "node:os";
import { getHeapStatistics } from "node:v8";

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

export interface IdleCollection {
  /** Grows with each piece of work that is done for clients. */
  readonly work: () => number;
  /** Bytes in V8's heap and in buffers outside it, garbage included. Absent: asked for. */
  readonly heldBytes?: () => number;
  /** Collects garbage. Absent: V8's, where the process was started with `--expose-gc`. */
  readonly collect?: (() => void) | undefined;
}

/** The time between two looks. */
const lookEveryMs = 20_000;
/** In so many looks in a row there was little to do. By then, caches have been given back. */
const quietLooksMin = 4;
/** Less work between two looks is little: probes, metrics. */
const workMin = 40;
/** With less than so much more than after the last collection, none is worth its milliseconds. */
const growthBytesMin = 16 * 1024 * 1024;

/**
 * V8 collects garbage when something is allocated. After a load that does not happen any more, and
 * what the load has left stays for as long as the process is idle. So once it is, all garbage is
 * collected: that holds up the main thread once. Returns a function that ends this.
 */
export function collectWhenIdle(given: IdleCollection): () => void {
  const { work, heldBytes = bytesInUse, collect = globalThis.gc } = given;
  if (collect === undefined) return () => {};
  let [seen, quietLooks, heldAfter] = [work(), 0, 0];
  const look = (): void => {
    const now = work();
    quietLooks = now - seen < workMin ? quietLooks + 1 : 0;
    seen = now;
    if (quietLooks < quietLooksMin) return;
    const held = heldBytes();
    if (held - heldAfter < growthBytesMin) return;
    collect();
    heldAfter = heldBytes();
  };
  const timer = setInterval(look, lookEveryMs).unref();
  return () => clearInterval(timer);
}

function bytesInUse(): number {
  const { used_heap_size: heap, external_memory: outside } = getHeapStatistics();
  return heap + outside;
}
