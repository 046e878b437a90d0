// Which of the servers runs the consumer groups: the one that has the lease, a row that it renews.
// The lease is taken under the lock of the head, so that everything that another server has
// written for groups is visible by then; and every commit that writes for groups names the number
// of the lease that it relies on, so that a server that has lost it without noticing writes
// nothing more. The clock of the database says when it is over. A renewal counts when it is where
// every commit has to be: one that a failover loses would give the lease to another server while
// this one goes on handing out events.

import { AnnalsError } from "../../../domain/errors.ts";
import type { SideValueChange } from "../../storage.ts";
import type { Order } from "./commit.ts";
import type { Database } from "../sessions/database.ts";
import type { HeadKeeper } from "../head/log-head.ts";
import type { DbSession } from "../sessions/session.ts";
import { beginCommit } from "../head/lock.ts";

const leaseMs = 5_000;
/** Between two of them being asked for: a standby may take almost half a lease to confirm one. */
const renewMs = leaseMs / 3;
/** A renewal that failed is tried again. */
const againMs = 300;
/** It is over here a little sooner than for the others. */
const marginMs = 250;
/** A server that was told of another one asks again after this time. */
const elsewhereMs = 500;

const holder = {
  name: "lease-holder",
  text: `SELECT address FROM lease WHERE until > clock_timestamp() AND holder <> $1`,
};

const take = {
  name: "lease-take",
  text: `INSERT INTO lease (holder, address, number, until)
    VALUES ($1, $2, 1, clock_timestamp() + $3 * interval '1 millisecond')
    ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, address = excluded.address,
      number = lease.number + 1, until = excluded.until RETURNING number`,
};

const renew = {
  name: "lease-renew",
  text: `UPDATE lease SET until = clock_timestamp() + $2 * interval '1 millisecond'
    WHERE number = $1 RETURNING number`,
};

/** Fails where the lease is another's by now. */
const fence = { name: "lease-fence", text: "SELECT 1 / count(*) FROM lease WHERE number = $1" };
const divisionByZero = "22012";

export interface LeaseParts {
  readonly database: Database;
  readonly keeper: HeadKeeper;
  /** Where this server is, for people and clients. */
  readonly address: string;
}

export class GroupsLease {
  private readonly parts: LeaseParts;
  private readonly id = crypto.randomUUID();
  /** The number of the last lease. 0: this server never had one. */
  private number = 0;
  private isHeld = false;
  private untilMs = 0;
  private expiring: NodeJS.Timeout | undefined;
  private renewing: NodeJS.Timeout | undefined;
  /** Where it is renewed, which may have to wait for a standby. */
  private session: DbSession | undefined;
  private taking: Promise<void> | undefined;
  private elsewhere: { readonly address: string; readonly untilMs: number } | undefined;

  constructor(parts: LeaseParts) {
    this.parts = parts;
  }

  /** The number of the lease. Throws GROUPS_ELSEWHERE, or RECOVERING where it is lost at once. */
  async hold(): Promise<number> {
    this.expire();
    if (this.isHeld) return this.number;
    const { elsewhere } = this;
    if (elsewhere !== undefined && performance.now() < elsewhere.untilMs) {
      throw groupsElsewhere(elsewhere.address);
    }
    this.taking ??= this.take().finally(() => (this.taking = undefined));
    await this.taking;
    if (!this.isHeld) throw elsewhereSince();
    return this.number;
  }

  /**
   * What a commit has to ask before it writes these. Undefined: nothing. Throws RECOVERING if one
   * of them was decided under another lease: another server may have written something newer.
   */
  fenceOf(changes: readonly SideValueChange[]): Order | undefined {
    const { number } = this;
    const ofGroups = changes.filter(({ space }) => space.startsWith("group"));
    if (ofGroups.some(({ lease = number }) => lease !== number)) throw elsewhereSince();
    const isAsked = ofGroups.length > 0 && number > 0;
    return isAsked ? { statement: fence, values: [number] } : undefined;
  }

  /** Whether this is what a commit fails with whose lease is lost. Then it is. */
  isFenced(state: string): boolean {
    if (state === divisionByZero) this.lose();
    return state === divisionByZero;
  }

  /** Another host may be the primary by now: a renewal is not waited for any more. */
  searched(): void {
    this.session?.end();
  }

  /** For the next server at once. */
  async giveBack(session: DbSession | undefined): Promise<void> {
    const { isHeld } = this;
    this.letGo();
    if (isHeld) await session?.rows(renew, [this.number, 0], leaseMs);
  }

  /** `sinceMs`: from when it was asked for. */
  private held(sinceMs: number): void {
    this.isHeld = true;
    this.untilMs = sinceMs + leaseMs - marginMs;
    clearTimeout(this.expiring);
    this.expiring = setTimeout(() => this.lose(), this.untilMs - performance.now());
    this.renewLater(sinceMs + renewMs - performance.now());
  }

  private expire(): void {
    if (performance.now() >= this.untilMs) this.lose();
  }

  private lose(): void {
    if (!this.isHeld) return;
    this.letGo();
    for (const watcher of this.parts.keeper.watchers) watcher.groupsLost?.();
  }

  private letGo(): void {
    this.isHeld = false;
    clearTimeout(this.expiring);
    clearTimeout(this.renewing);
    this.session?.end();
    this.session = undefined;
  }

  private renewLater(ms: number): void {
    this.renewing = setTimeout(() => void this.renew(), ms);
  }

  /** Nobody waits for it: where it goes on failing, the lease runs out. */
  private async renew(): Promise<void> {
    const { number } = this;
    const nowMs = performance.now();
    const isRenewed = await this.renewedInTime(number).catch(() => undefined);
    if (!this.isHeld || this.number !== number) return;
    if (isRenewed === false) this.lose();
    else if (isRenewed === true) this.held(nowMs);
    else this.renewLater(againMs);
  }

  /** False: it is another's. A commit that waits longer than the lease is left with its session. */
  private async renewedInTime(number: number): Promise<boolean> {
    const session = await this.opened();
    try {
      const sent = [session.run("BEGIN"), session.rows(renew, [number, leaseMs])] as const;
      const [, rows] = await Promise.all([...sent, session.commit()]);
      return rows.length > 0;
    } catch (error) {
      session.end();
      throw error;
    }
  }

  /** Another one where the last one broke: the primary may be elsewhere by now. */
  private async opened(): Promise<DbSession> {
    const { database } = this.parts;
    const { session: last } = this;
    if (last?.isBroken === false && last.url === database.primaryUrl) return last;
    last?.end();
    const session = await database.openBeside(() => {});
    if (!this.isHeld) session.end();
    else this.session = session;
    return session;
  }

  private async take(): Promise<void> {
    const { database, keeper, address } = this.parts;
    const [other] = await database.rows<[string]>(holder, [this.id]);
    if (other !== undefined) throw this.refused(other[0]);
    const nowMs = performance.now();
    const asked = keeper.head;
    const taken = await database.reading(async (session) => {
      const head = await beginCommit(session);
      const [again] = await session.rows<[string]>(holder, [this.id]);
      if (again !== undefined) {
        await session.run("ROLLBACK");
        return again[0];
      }
      const [row] = await session.rows<[number]>(take, [this.id, address, leaseMs]);
      await session.commit();
      return { head, number: row?.[0] ?? 0 };
    });
    if (typeof taken === "string") throw this.refused(taken);
    await keeper.reach(taken.head, asked);
    this.number = taken.number;
    this.held(nowMs);
  }

  private refused(address: string): AnnalsError {
    this.elsewhere = { address, untilMs: performance.now() + elsewhereMs };
    return groupsElsewhere(address);
  }
}

function elsewhereSince(): AnnalsError {
  const message = "another server may have run the consumer groups since: nothing was stored";
  return new AnnalsError({ reason: "RECOVERING" }, message);
}

function groupsElsewhere(server: string): AnnalsError {
  const message = `the consumer groups of this store run on ${server}: ask there, or here later`;
  return new AnnalsError({ reason: "GROUPS_ELSEWHERE", server }, message);
}
