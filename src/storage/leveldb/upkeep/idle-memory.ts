// What is given back when a store is left alone. Once nothing has been written for a while,
// LevelDB's table in memory goes to disk: its memory, up to a write buffer, becomes free, and a
// start after a kill has less to replay. Once no stream is read or written either, the records of
// streams in use and the newest chunks are forgotten; they are on disk.

import type { OpenStore } from "../state/open-store.ts";
import { nodeDelay, type Delay } from "../write/write-guard.ts";

export interface IdleMemoryParts {
  readonly store: Pick<OpenStore, "kv" | "sequence" | "hot" | "tail">;
  readonly isAccepting: () => boolean;
  readonly spareBytes: () => number;
  readonly warn: (message: string, cause?: unknown) => void;
  readonly delay?: Delay | undefined;
}

export interface IdleMemory {
  /** Resolves when no flush is under way. */
  stop(): Promise<void>;
}

/** The time between two looks, and at least that without a write. */
export const lookEveryMs = 20_000;
/** Looks without a use of a stream after which its records are forgotten. */
const looksUntilForgotten = 2;
/** With fewer writes since the last flush, a file of its own is not worth it. */
const operationsMin = 2_000;
/** LevelDB must not meet a full disk. */
const spareBytesMin = 256 * 1024 * 1024;

export function startIdleMemory(parts: IdleMemoryParts): IdleMemory {
  const { store, isAccepting, spareBytes, warn, delay = nodeDelay } = parts;
  let [seen, flushed] = [store.sequence, store.sequence];
  let [uses, looksWithoutUse] = [store.hot.uses, 0];
  let flushing: Promise<void> | undefined;
  const flush = async (): Promise<void> => {
    try {
      await store.kv.flush();
    } catch (cause) {
      warn("what is in memory could not be written to a table", cause);
    }
  };
  const forgetUnused = (isUnwritten: boolean): void => {
    const { hot, tail } = store;
    const isUnused = isUnwritten && hot.uses === uses;
    uses = hot.uses;
    looksWithoutUse = isUnused ? looksWithoutUse + 1 : 0;
    if (looksWithoutUse !== looksUntilForgotten) return;
    hot.clear();
    tail.clear();
  };
  const look = (): void => {
    const { sequence } = store;
    const isUnwritten = sequence === seen;
    seen = sequence;
    if (isUnwritten && sequence - flushed >= operationsMin) {
      if (isAccepting() && spareBytes() >= spareBytesMin) {
        flushed = sequence;
        flushing = flush();
      }
    }
    forgetUnused(isUnwritten);
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
