// The one session in which a server commits. A decision takes the lock of the head with its facts
// and keeps it to the end of its commit, so that nobody commits in between. A commit is sent in one
// go: what breaks it off leaves it open whether it is durable, unless a statement before its end
// was refused.

import { AnnalsError, invariant, type Reason } from "../../../domain/errors.ts";
import type { Commit, CommitResult, Facts, FactsRequest } from "../../storage.ts";
import { isLoss } from "../sessions/database.ts";
import { cutIntoChunks } from "../../leveldb/format/chunk.ts";
import { composeOrders, type ComposedOrders } from "./commit.ts";
import { factsInSession } from "./facts.ts";
import { beginCommit } from "../head/lock.ts";
import type { HeadKeeper, LogHead } from "../head/log-head.ts";
import type { GroupsLease } from "./groups-lease.ts";
import { databaseError, sqlState, unreachable, type DbSession } from "../sessions/session.ts";

const provesHead = { name: "prove-head", text: "UPDATE head SET proofs = proofs + 1" };

const chainAt = { name: "chain-at", text: "SELECT chain FROM batch WHERE last = $1" };

/** Codes of PostgreSQL: the disk is full, and a lock was not granted in time. */
const diskFull = new Set(["53100", "53000"]);
const lockBusy = "55P03";
const retryAfterMs = 1_000;

export interface WriterParts {
  readonly keeper: HeadKeeper;
  readonly lease: GroupsLease;
  /** The session is not used any more. `isLost`: and the database does not answer, or is none. */
  readonly ended: (why: Error, isLost: boolean) => void;
  /** Called with each commit that is durable, before it is visible. */
  readonly committed: (head: LogHead) => void;
}

export class Writer {
  private readonly parts: WriterParts;
  private session: DbSession | undefined;
  /** The head whose lock is held. */
  private locked: LogHead | undefined;

  constructor(parts: WriterParts) {
    this.parts = parts;
  }

  get isConnected(): boolean {
    return this.session !== undefined;
  }

  /** From now on, commits are made in this session. Undefined: there is none. */
  use(session: DbSession | undefined): void {
    this.session?.end();
    this.session = session;
    this.locked = undefined;
  }

  /** Facts under the lock of the head, which is held until `commit` or `release`. */
  async facts(request: FactsRequest): Promise<Facts> {
    const session = this.required();
    const { keeper } = this.parts;
    const asked = keeper.head;
    try {
      this.release();
      const { head, facts } = await factsInSession(session, keeper, request, () =>
        beginCommit(session),
      );
      this.locked = head;
      // Not awaited: others' events are read while this is decided.
      keeper.reach(head, asked).catch(() => {});
      return facts;
    } catch (error) {
      throw this.failed(session, error);
    }
  }

  /** Gives the lock back, if it is held. */
  release(): void {
    if (this.locked === undefined || this.session === undefined) return;
    this.locked = undefined;
    const { session } = this;
    session.run("ROLLBACK").catch((error: unknown) => this.failed(session, error));
  }

  /**
   * Commits that nothing is stored: facts may be those of a primary that is none any more, or be of
   * commits that are nowhere else yet, until it has committed something after them.
   */
  async confirm(): Promise<void> {
    const session = this.required();
    const { locked } = this;
    if (locked === undefined) throw unreachable("it was lost before the answer");
    this.locked = undefined;
    try {
      await Promise.all([session.rows(provesHead), session.commit()]);
    } catch (error) {
      throw this.failed(session, error);
    }
    await this.parts.keeper.reach(locked, locked);
  }

  async commit(commit: Commit): Promise<CommitResult> {
    const session = this.required();
    const { keeper } = this.parts;
    if (this.locked?.position !== commit.after.position) {
      this.release();
      const asked = keeper.head;
      const before = await beginCommit(session).catch((error: unknown) => {
        throw this.failed(session, error);
      });
      this.locked = before;
      keeper.reach(before, asked).catch(() => {});
    }
    const before = this.locked;
    if (before.position !== commit.after.position) {
      this.release();
      return "stale";
    }
    const composed = await this.composed(commit, before);
    this.locked = undefined;
    const ended = this.finish(session, composed, before, commit);
    keeper.own = { after: before, ended };
    try {
      await ended;
      return "committed";
    } finally {
      keeper.own = undefined;
    }
  }

  private async finish(
    session: DbSession,
    composed: ComposedOrders,
    before: LogHead,
    commit: Commit,
  ): Promise<void> {
    await this.send(session, composed);
    this.parts.committed(composed.head);
    await this.parts.keeper.committed(before, composed.head, commit);
  }

  private async composed(commit: Commit, before: LogHead): Promise<ComposedOrders> {
    const { events, recordedAt, times, sideValues = [] } = commit;
    try {
      invariant(events.length + sideValues.length > 0, "a commit has events or side values");
      invariant((times?.[0] ?? recordedAt) >= before.recordedAt, "time never decreases");
      const fence = this.parts.lease.fenceOf(sideValues);
      const composed = await composeOrders({ drafts: cutIntoChunks(commit), sideValues }, before);
      return fence === undefined ? composed : { ...composed, orders: [fence, ...composed.orders] };
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Sends everything, with the end of the transaction. Throws if it is not known to be durable. */
  private async send(session: DbSession, { orders }: ComposedOrders): Promise<void> {
    const answers = orders.map(({ statement, values }) => session.rows(statement, values));
    const ended = session.commit();
    const [end, ...others] = await Promise.allSettled([ended, ...answers]);
    const refused = others.map((each) => (each.status === "rejected" ? each.reason : undefined));
    const said: unknown = refused.find((each) => sqlState(each) !== undefined);
    if (said !== undefined) throw this.failed(session, said);
    if (end.status === "fulfilled") return;
    const message =
      "the connection to the database broke in the commit, or it may not be replicated";
    this.failed(session, end.reason);
    throw new AnnalsError({ reason: "OUTCOME_UNKNOWN" }, message, end.reason);
  }

  private required(): DbSession {
    if (this.session === undefined) throw unreachable("it is being connected to");
    return this.session;
  }

  /** Gives up the session. Returns the error for the caller: nothing was stored. */
  private failed(session: DbSession, error: unknown): unknown {
    const isLost = isLoss(error, session);
    session.end();
    // Another session may be in use by now: then this one has been given up already.
    if (this.session === session) {
      this.session = undefined;
      this.locked = undefined;
      this.parts.ended(error as Error, isLost);
    }
    const state = sqlState(error) ?? "";
    if (diskFull.has(state)) return failure({ reason: "DISK_FULL", retryAfterMs }, error);
    if (this.parts.lease.isFenced(state)) {
      return unreachable("the consumer groups run on another server by now", error);
    }
    if (state === lockBusy) return unreachable("the log was locked by another server", error);
    return databaseError(error);
  }
}

function failure(
  reason: Extract<AnnalsError["failure"], { reason: "DISK_FULL" & Reason }>,
  cause: unknown,
): AnnalsError {
  return new AnnalsError(reason, "the database's disk is full: nothing was stored", cause);
}

/**
 * Commits something, so that it is known that the database still can, and that whatever was visible
 * in it is where it should be. `known`: what was seen of the log, which has to be in it.
 */
export async function proveCommits(
  session: DbSession,
  known: LogHead | undefined,
): Promise<LogHead> {
  const head = await beginCommit(session);
  if (known !== undefined && known.position > 0) await assertContinues(session, head, known);
  await session.rows(provesHead);
  await session.commit();
  return head;
}

/** Throws if the database does not have the log that was seen. */
async function assertContinues(session: DbSession, head: LogHead, known: LogHead): Promise<void> {
  const [row] = await session.rows<[Uint8Array]>(chainAt, [known.position]);
  const isSame = row !== undefined && Buffer.compare(row[0], known.chain) === 0;
  if (isSame && head.sides >= known.sides) return;
  throw new Error(
    `the log at position ${head.position} does not continue what was read up to position ` +
      `${known.position}: a failover has lost commits; restart this server to accept that`,
  );
}
