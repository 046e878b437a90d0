// The read model: balances and statements in SQLite, for questions that span streams.

import type { DatabaseSync } from "node:sqlite";
import type { Projection, RecordedEvent } from "../../src/client/sdk.ts";
import type { BankEvent } from "./events.ts";

export interface AccountRow {
  readonly number: string;
  readonly owner: string;
  readonly balance: number;
}

export interface StatementLine {
  readonly position: number;
  readonly at: string;
  readonly what: string;
  readonly cents: number;
}

/** One effect per event, in one transaction with the checkpoint. */
export const balances: Projection<BankEvent, DatabaseSync> = {
  name: "balances",
  version: 1,
  setup: (db) => {
    db.exec(`
      DROP TABLE IF EXISTS statement;
      DROP TABLE IF EXISTS account;
      CREATE TABLE account (
        stream TEXT PRIMARY KEY,
        number TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        balance INTEGER NOT NULL
      ) STRICT;
      CREATE TABLE statement (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL REFERENCES account,
        at TEXT NOT NULL,
        what TEXT NOT NULL,
        cents INTEGER NOT NULL
      ) STRICT;
    `);
  },
  when: {
    AccountOpened: ({ stream, data }, db) => {
      const sql = "INSERT INTO account (stream, number, owner, balance) VALUES (?, ?, ?, 0)";
      db.prepare(sql).run(stream, data.number, data.owner);
    },
    MoneyDeposited: (event, db) => enter(db, event, "paid in", event.data.cents),
    MoneyWithdrawn: (event, db) => enter(db, event, "taken out", -event.data.cents),
    MoneySent: (event, db) => enter(db, event, `to ${event.data.to}`, -event.data.cents),
    MoneyReceived: (event, db) => enter(db, event, `from ${event.data.from}`, event.data.cents),
  },
};

function enter(
  db: DatabaseSync,
  { stream, position, recordedAt }: RecordedEvent<BankEvent>,
  what: string,
  cents: number,
): void {
  db.prepare("UPDATE account SET balance = balance + ? WHERE stream = ?").run(cents, stream);
  db.prepare("INSERT INTO statement VALUES (?, ?, ?, ?, ?)").run(
    position,
    stream,
    recordedAt.toISOString(),
    what,
    cents,
  );
}

export function allAccounts(db: DatabaseSync): AccountRow[] {
  const rows = db.prepare("SELECT number, owner, balance FROM account ORDER BY number").all();
  return rows as unknown as AccountRow[];
}

/** The last lines first. Undefined: there is no such account. */
export function statementOf(
  db: DatabaseSync,
  number: string,
  linesMax: number,
): (AccountRow & { readonly lines: readonly StatementLine[] }) | undefined {
  const sql = "SELECT stream, number, owner, balance FROM account WHERE number = ?";
  const row = db.prepare(sql).get(number) as (AccountRow & { stream: string }) | undefined;
  if (row === undefined) return undefined;
  const { stream, ...account } = row;
  const lines = db
    .prepare(
      "SELECT position, at, what, cents FROM statement WHERE stream = ? " +
        "ORDER BY position DESC LIMIT ?",
    )
    .all(stream, linesMax);
  return { ...account, lines: lines as unknown as StatementLine[] };
}
