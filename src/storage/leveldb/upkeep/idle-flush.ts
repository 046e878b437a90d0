// Once nothing has been written for a while, LevelDB's table in memory goes to disk: its memory,
// up to a write buffer, is given back, and a start after a kill has less to replay.

import type { OpenStore } from "../state/open-store.ts";
import { nodeDelay, type Delay } from "../write/write-guard.ts";

export interface IdleFlushParts {
  readonly store: Pick<OpenStore, "kv" | "sequence">;
  readonly isAccepting: () => boolean;
  readonly spareBytes: () => number;
  readonly warn: (message: string, cause?: unknown) => void;
  readonly delay?: Delay | undefined;
}

export interface IdleFlush {
  /** Resolves when no flush is under way. */
  stop(): Promise<void>;
}

/** The time between two looks, and at least that without a write. */
export const lookEveryMs = 20_000;
/** With fewer writes since the last flush, a file of its own is not worth it. */
const operationsMin = 2_000;
/** LevelDB must not meet a full disk. */
const spareBytesMin = 256 * 1024 * 1024;

export function startIdleFlush(parts: IdleFlushParts): IdleFlush {
  const { store, isAccepting, spareBytes, warn, delay = nodeDelay } = parts;
  let [seen, flushed] = [store.sequence, store.sequence];
  let flushing: Promise<void> | undefined;
  const flush = async (): Promise<void> => {
    try {
      await store.kv.flush();
    } catch (cause) {
      warn("what is in memory could not be written to a table", cause);
    }
  };
  const look = (): void => {
    const { sequence } = store;
    const isIdle = sequence === seen && sequence - flushed >= operationsMin;
    seen = sequence;
    if (isIdle && isAccepting() && spareBytes() >= spareBytesMin) {
      flushed = sequence;
      flushing = flush();
    }
    prevent = delay(lookEveryMs, look);
  };
  let prevent = delay(lookEveryMs, look);
  return {
    async stop() {
      prevent();
      await flushing;
    },
  };
}
