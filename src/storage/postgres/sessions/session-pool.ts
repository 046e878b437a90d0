// Sessions of one kind at one primary, for as long as it is the primary.

import { unreachable, type DbSession } from "./session.ts";

export class SessionPool {
  private readonly open: () => Promise<DbSession>;
  private readonly sessionsMax: number;
  private readonly idle: DbSession[] = [];
  private readonly used = new Set<DbSession>();
  private opening = 0;
  private waiting: (() => void)[] = [];
  private why: string | undefined;

  constructor(open: () => Promise<DbSession>, sessionsMax: number) {
    this.open = open;
    this.sessionsMax = sessionsMax;
  }

  get isOver(): boolean {
    return this.why !== undefined;
  }

  /** A session of the caller's own until it gives it back. Throws RECOVERING when it is over. */
  async take(): Promise<DbSession> {
    for (;;) {
      if (this.why !== undefined) throw unreachable(this.why);
      const session = this.idle.pop();
      if (session?.isBroken === false) return this.taken(session);
      if (session !== undefined) continue;
      if (this.used.size + this.opening < this.sessionsMax) return this.opened();
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  giveBack(session: DbSession): void {
    this.used.delete(session);
    if (!this.isOver && !session.isBroken) this.idle.push(session);
    else session.end();
    this.waiting.shift()?.();
  }

  /** Ends all sessions, also those in use: an answer may never come. */
  end(why: string): void {
    this.why ??= why;
    for (const session of [...this.idle.splice(0), ...this.used]) session.end();
    for (const next of this.waiting.splice(0)) next();
  }

  private async opened(): Promise<DbSession> {
    this.opening++;
    try {
      const session = await this.open();
      if (this.why === undefined) return this.taken(session);
      session.end();
      throw unreachable(this.why);
    } finally {
      this.opening--;
      this.waiting.shift()?.();
    }
  }

  private taken(session: DbSession): DbSession {
    this.used.add(session);
    return session;
  }
}
