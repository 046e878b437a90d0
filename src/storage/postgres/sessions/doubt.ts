// Whether the primary still is one. A former primary that nobody has stopped goes on answering
// reads, and its commits wait for ever: without a commit for a while, the other hosts are asked.

import type { Database } from "./database.ts";

/** After the last commit. */
const idleMs = 10_000;
/** After the beginning of a commit that has not ended. */
const commitMs = 2_000;

export class Doubt {
  private readonly database: Database;
  private readonly contested: (why: Error) => void;
  private provenAtMs = performance.now();
  private committingSinceMs: number | undefined;
  private isAsking = false;

  constructor(database: Database, contested: (why: Error) => void) {
    this.database = database;
    this.contested = contested;
  }

  committing(): void {
    this.committingSinceMs = performance.now();
  }

  /** The primary has committed something. */
  proven(): void {
    this.provenAtMs = performance.now();
    this.committingSinceMs = undefined;
  }

  /** Called often. */
  async ask(): Promise<void> {
    const nowMs = performance.now();
    const isSlow = nowMs - (this.committingSinceMs ?? nowMs) > commitMs;
    if (this.isAsking || (!isSlow && nowMs - this.provenAtMs < idleMs)) return;
    this.isAsking = true;
    // Asked again after the next pause.
    this.provenAtMs = nowMs;
    const isContested = await this.database.isContested();
    this.isAsking = false;
    if (isContested) this.contested(new Error("another host says that it is the primary, too"));
  }
}
