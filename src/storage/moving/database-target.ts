// A database as the target of a move. What comes is checked as a follower checks it; every chunk
// becomes rows, which have to make up the same chunk. Until everything was verified, no server
// serves the tables, and a further attempt goes on behind the last position that is there.

import { createHash } from "node:crypto";
import { currentEpoch, sameBegin } from "../../domain/epoch.ts";
import {
  CopyRefused,
  type CopiedCommits,
  type CopiedState,
  type CopiedStore,
  type CopyPart,
  type CopyStart,
  type StoredEntry,
} from "../copy.ts";
import { eventsOf, receivedPart, type ChainEnd } from "../leveldb/copy/received-log.ts";
import { unseal } from "../leveldb/format/keys.ts";
import type { Chunk } from "../leveldb/format/chunk.ts";
import { historyOf, withNewEpoch } from "../leveldb/folder/identity.ts";
import { changesAmong } from "../leveldb/write/side-values.ts";
import { composeOrders, type Order } from "../postgres/writes/commit.ts";
import { DatabaseRefused } from "../postgres/sessions/database-refused.ts";
import { beginCommit, lockStore } from "../postgres/head/lock.ts";
import { askHead, type LogHead } from "../postgres/head/log-head.ts";
import { rewritingOrders } from "../postgres/writes/rewriting.ts";
import { knownStore, migrate } from "../postgres/tables/schema.ts";
import type { DbSession } from "../postgres/sessions/session.ts";
import { verifyDatabase } from "../postgres/verify.ts";
import type { MoveContext, Moved, TargetEnd } from "./ends.ts";

const forgetSideValues = { name: "forget-side-values", text: "DELETE FROM side_value" };
const setHistory = { name: "set-history", text: "UPDATE store SET history = $1, is_copy = $2" };
const setTime = { name: "set-time", text: "UPDATE store_time SET time = greatest(time, $1)" };

export interface DatabaseTargetParts {
  readonly url: string;
  readonly schema: string;
  readonly session: DbSession;
}

/** Throws DatabaseRefused if the schema holds anything but an unfinished copy of the store. */
export async function databaseTarget(
  parts: DatabaseTargetParts,
  store: CopiedStore,
  context: MoveContext,
): Promise<TargetEnd> {
  const { session, schema } = parts;
  const clock = (): number => Date.now() * 1_000;
  await migrate(session, { schema, isReplicated: false, clock, copied: store });
  const { storeId, isCopy, history } = await knownStore(session);
  const holds = `schema ${schema} holds ${isCopy ? "a copy of " : ""}store ${storeId}`;
  if (!isCopy) throw new DatabaseRefused(`${holds}: a copy needs an empty one`);
  if (storeId !== store.storeId || !sameBegin(history, store.history)) {
    throw new DatabaseRefused(`${holds}, and not of the store that is to be copied`);
  }
  if (!(await lockStore(session, schema, true))) {
    throw new DatabaseRefused(`another copy into schema ${schema} is running`);
  }
  // A copy that is cut off goes on from what is there, whatever that is. Its end is synced.
  await session.run("SET synchronous_commit = off");
  return new DatabaseTarget(parts, store, context, await askHead(session));
}

class DatabaseTarget implements TargetEnd {
  private readonly parts: DatabaseTargetParts;
  private readonly store: CopiedStore;
  private readonly context: MoveContext;
  private head: LogHead;
  /** What was sent and is not answered yet. */
  private sent: Promise<void> = Promise.resolve();
  private side: { hash: ReturnType<typeof createHash>; count: number } | undefined;
  private isWhole = false;

  constructor(parts: DatabaseTargetParts, store: CopiedStore, context: MoveContext, head: LogHead) {
    this.parts = parts;
    this.store = store;
    this.context = context;
    this.head = head;
  }

  async start(): Promise<CopyStart> {
    const { position, chain } = this.head;
    return {
      position,
      chain: position === 0 ? new Uint8Array() : chain,
      cursor: "",
      follow: false,
    };
  }

  async receive(part: CopyPart): Promise<void> {
    switch (part.kind) {
      case "begin":
        if (part.store.storeId !== this.store.storeId) throw new CopyRefused("another store came");
        return;
      case "commits":
        return this.commits(part.commits);
      case "side-values":
        return this.sideValues(part.entries);
      case "state":
        return this.reach(part.state);
      case "progress":
    }
  }

  async finish(): Promise<Moved> {
    const { url, schema, session } = this.parts;
    const { progress, signal } = this.context;
    if (!this.isWhole) throw new CopyRefused("the copy broke off");
    const told = (position: number, last: number): void => progress("verified", position, last);
    const report = await verifyDatabase(url, schema, { progress: told, signal });
    if (report.findings.length > 0) {
      throw new DatabaseRefused(["what was copied is not sound:", ...report.findings].join("\n"));
    }
    const { storeId, createdAt, formatVersion, history, time } = this.store;
    const [, ...epochs] = history;
    const identity = { storeId, createdAt, formatVersion, created: true, epochs };
    const begun = { beganAt: Date.now() * 1_000, cause: "promotion" } as const;
    const next = historyOf(withNewEpoch(identity, { ...begun, after: report.head }));
    await session.run("SET synchronous_commit = on");
    await this.send([
      { statement: setTime, values: [time] },
      { statement: setHistory, values: [JSON.stringify(next), false] },
    ]);
    return { storeId, epoch: currentEpoch(next), head: report.head, chain: report.chain };
  }

  async close(): Promise<void> {
    await this.sent.catch(() => {});
    this.parts.session.end();
  }

  private async commits({ chunks, rewritten, head: last }: CopiedCommits): Promise<void> {
    const { head } = this;
    const end: ChainEnd = {
      position: head.position,
      hash: head.chain,
      recordedAt: head.recordedAt,
    };
    const received = receivedPart({ chunks, rewritten }, end);
    // A chunk may come together with the removal that rewrote it.
    const present = new Map(received.rewritten.map((chunk) => [chunk.last, chunk]));
    const added = received.chunks.map((chunk) => present.get(chunk.last) ?? chunk);
    const drafts = added.map((chunk) => ({
      events: eventsOf(chunk),
      recordedAt: chunk.recordedAt,
      reclaimed: chunk.reclaimed,
    }));
    const composed = await composeOrders({ drafts, sideValues: [] }, head);
    for (const [i, { value }] of composed.chunks.entries()) {
      const came = added[i] as Chunk;
      if (Buffer.compare(value, came.value) === 0) continue;
      throw new CopyRefused(`the chunk that ends at ${came.last} does not come out the same`);
    }
    const earlier = received.rewritten.filter((chunk) => chunk.last <= head.position);
    this.head = composed.head;
    await this.sendNext([...rewritingOrders(earlier), ...composed.orders]);
    this.context.progress("copied", composed.head.position, last);
  }

  private async sideValues(entries: readonly StoredEntry[]): Promise<void> {
    await this.beginSideValues();
    for (const { key, value = new Uint8Array() } of entries)
      this.side?.hash.update(key).update(value);
    if (this.side !== undefined) this.side.count += entries.length;
    const sealed = entries.map(({ key, value }) => [key, value && unseal(key, value)] as const);
    if (sealed.some(([, value]) => value === undefined)) {
      throw new CopyRefused("what came is no sound side value");
    }
    const sideValues = changesAmong(sealed);
    const { orders, head } = await composeOrders({ drafts: [], sideValues }, this.head);
    this.head = head;
    await this.sendNext(orders);
  }

  private async beginSideValues(): Promise<void> {
    if (this.side !== undefined) return;
    this.side = { hash: createHash("sha256"), count: 0 };
    await this.sendNext([{ statement: forgetSideValues, values: [] }]);
  }

  private async reach({ position, chain, sideValueCount, sideValuesHash }: CopiedState) {
    await this.beginSideValues();
    await this.sent;
    const { head, side } = this;
    const isLog = position === head.position && Buffer.compare(chain, head.chain) === 0;
    if (!isLog) throw new CopyRefused("the log does not end where the source says");
    const isSame = side !== undefined && side.hash.digest().equals(sideValuesHash);
    if (!isSame || side.count !== sideValueCount) {
      throw new CopyRefused("the side values that came are not those of the source");
    }
    this.isWhole = true;
  }

  /** Sends, while what was sent before is still being written. */
  private async sendNext(orders: readonly Order[]): Promise<void> {
    await this.sent;
    this.sent = this.send(orders);
    this.sent.catch(() => {});
  }

  private async send(orders: readonly Order[]): Promise<void> {
    const { session } = this.parts;
    const begun: Promise<unknown> = beginCommit(session);
    const answers = orders.map(({ statement, values }) => session.rows(statement, values));
    const all = await Promise.allSettled([begun, ...answers, session.commit()]);
    const refused = all.find((each) => each.status === "rejected");
    if (refused !== undefined) throw refused.reason;
  }
}
