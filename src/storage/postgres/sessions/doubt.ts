// Detects that a primary was replaced. A former primary that nobody has stopped goes on answering
// reads, while its commits wait for ever. So if no commit has ended for a while, the other hosts
// are asked. If another one is not a standby either, only a commit tells which is the primary.

import type { Database } from "./database.ts";
import type { DbSession } from "./session.ts";

/** After the last commit. */
const idleMs = 10_000;
/** After the beginning of what waits for a commit, of this server or of another one. */
const slowMs = 400;
/** Between two looks whether that is so. */
const lookMs = 200;
/** A primary that has not committed by then is given up. */
const answerMs = 3_000;

export interface DoubtParts {
  readonly database: Pick<Database, "isContested" | "openBeside">;
  /** Commits something. Throws if that fails. */
  readonly prove: (session: DbSession) => Promise<unknown>;
  /** It does not, and another host may be the primary. */
  readonly contested: (why: Error) => void;
}

export class Doubt {
  private readonly parts: DoubtParts;
  private provenAtMs = performance.now();
  private waitingSinceMs: number | undefined;
  private isAsking = false;
  private looking: NodeJS.Timeout | undefined;

  constructor(parts: DoubtParts) {
    this.parts = parts;
  }

  /** Until it is stopped. */
  start(): void {
    this.looking = setInterval(() => void this.ask(), lookMs);
  }

  stop(): void {
    clearInterval(this.looking);
  }

  /** What waits for a commit: its own one, or that of another server, which has the lock. */
  async during<T>(waiting: Promise<T>): Promise<T> {
    const sinceMs = performance.now();
    this.waitingSinceMs = sinceMs;
    try {
      return await waiting;
    } finally {
      if (this.waitingSinceMs === sinceMs) this.waitingSinceMs = undefined;
    }
  }

  /** The primary has committed something. */
  proven(): void {
    this.provenAtMs = performance.now();
  }

  async ask(): Promise<void> {
    const nowMs = performance.now();
    const isSlow = nowMs - (this.waitingSinceMs ?? nowMs) > slowMs;
    if (this.isAsking || (!isSlow && nowMs - this.provenAtMs < idleMs)) return;
    this.isAsking = true;
    // Asked again after the next pause.
    this.provenAtMs = nowMs;
    const { database, contested } = this.parts;
    const isContested = await database.isContested();
    // A commit that does not end tells as much as another one would.
    const isProven = isContested && !isSlow && (await this.commits());
    this.isAsking = false;
    // What was committed meanwhile answers the question, too.
    if (!isContested || isProven || this.provenAtMs !== nowMs) return;
    contested(new Error("another host says that it is the primary, too"));
  }

  /** Whether the primary still commits, in a session of its own. */
  private async commits(): Promise<boolean> {
    const { database, prove } = this.parts;
    const session = await database.openBeside(() => {}).catch(() => undefined);
    if (session === undefined) return false;
    const overdue = setTimeout(() => session.end(), answerMs);
    try {
      await prove(session);
      return true;
    } catch {
      return false;
    } finally {
      clearTimeout(overdue);
      session.end();
    }
  }
}
