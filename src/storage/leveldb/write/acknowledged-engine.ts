// The engine with a memory of what it acknowledged: after every durable write, and whenever the
// database was opened and audited, the high-water mark moves; and nothing is opened that does not
// hold what the mark says.

import { countedKv } from "../kv/counted-kv.ts";
import { headOf, openEngine, type Engine, type EngineOptions } from "./engine.ts";
import type { Kv } from "../kv/kv.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";

export interface OpenedKv {
  readonly kv: Kv;
  /** LevelDB's number of the last write that is there. */
  readonly sequence: number;
}

export interface AcknowledgedOptions extends Omit<EngineOptions, "openKv" | "written"> {
  /** What the mark says; undefined where it says nothing. */
  readonly acknowledged: Acknowledged | undefined;
  /** Opens the database and proves that it holds what was acknowledged, or throws. */
  readonly open: (acknowledged: Acknowledged | undefined) => Promise<OpenedKv>;
  /** Moves the mark. Must not throw or wait. */
  readonly advance: (acknowledged: Acknowledged) => void;
}

export function openAcknowledged(options: AcknowledgedOptions): Promise<Engine> {
  const { open, advance } = options;
  let { acknowledged } = options;
  let sequence = 0;
  const acknowledge = (position: number, hash: Uint8Array): void => {
    acknowledged = { position, sequence, hash };
    advance(acknowledged);
  };
  return openEngine({
    ...options,
    async openKv() {
      const opened = await open(acknowledged);
      try {
        const { head, headHash } = await headOf(opened.kv);
        sequence = opened.sequence;
        acknowledge(head.position, headHash);
      } catch (error) {
        await opened.kv.close();
        throw error;
      }
      return countedKv(opened.kv, (entries) => {
        sequence += entries;
      });
    },
    written: (head, hash) => acknowledge(head.position, hash),
  });
}
