// Tells other servers to look at the head. It is a hint: without it, they look a little later.

import { hash } from "node:crypto";
import type { DbSession } from "../sessions/session.ts";

const notify = { name: "notify", text: "SELECT pg_notify($1, $2)" };

export class Notifier {
  /** A channel's name has at most 63 bytes. */
  readonly channel: string;
  private readonly session: () => DbSession | undefined;
  private notifying = false;
  private toNotify = false;

  constructor(schema: string, session: () => DbSession | undefined) {
    this.channel = `annals_${hash("sha256", schema).slice(0, 16)}`;
    this.session = session;
  }

  /** One notification at a time: what comes meanwhile is one more. */
  notify(): void {
    this.toNotify = true;
    const session = this.session();
    if (this.notifying || session === undefined) return;
    this.notifying = true;
    void this.notifyAll(session).finally(() => (this.notifying = false));
  }

  private async notifyAll(session: DbSession): Promise<void> {
    while (this.toNotify) {
      this.toNotify = false;
      await session.rows(notify, [this.channel, ""]).catch(() => {});
    }
  }
}
