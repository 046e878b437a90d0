// The adapters that need nothing but Node, against the contract of read models.
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { memoryReadModel, MemoryTable } from "../../../src/client/sdk.ts";
import { sqliteReadModel } from "../../../src/client/projection/sqlite-read-model.ts";
import { temporaryFolder } from "../../cli/running-server.ts";
import { checkpointAt, readModelSuite } from "./read-model-suite.ts";

readModelSuite("in memory", async () => {
  const totals = new MemoryTable<string, number>();
  return {
    model: memoryReadModel({ totals }),
    setup: (tables) => tables.totals.clear(),
    add: (tables, name, by) => tables.totals.set(name, (tables.totals.get(name) ?? 0) + by),
    rows: async () => Object.fromEntries(totals.rows()),
    close: async () => {},
  };
});

const upsert = `
  INSERT INTO totals VALUES (?, ?)
  ON CONFLICT (name) DO UPDATE SET total = total + excluded.total
`;

readModelSuite("in SQLite", async () => {
  const path = join(temporaryFolder(), "model.db");
  const opened = [new DatabaseSync(path)];
  const [database] = opened as [DatabaseSync];
  return {
    model: sqliteReadModel(database),
    setup: (db) => db.exec("CREATE TABLE totals (name TEXT PRIMARY KEY, total INTEGER) STRICT"),
    add: (db, name, by) => void db.prepare(upsert).run(name, by),
    rows: async () => {
      const rows = database.prepare("SELECT name, total FROM totals").all();
      return Object.fromEntries(rows.map((row) => [row["name"], row["total"]]));
    },
    again: async () => {
      const other = new DatabaseSync(path);
      opened.push(other);
      return sqliteReadModel(other);
    },
    close: async () => {
      for (const each of opened) each.close();
    },
  };
});

describe("a table in memory", () => {
  test("takes everything back, whatever was done to it", async () => {
    const table = new MemoryTable<string, number>();
    const model = memoryReadModel({ table });
    table.set("a", 1);
    table.set("b", 2);
    const apply = () => {
      table.set("a", 10);
      table.set("a", 11);
      table.delete("b");
      table.set("c", 3);
      table.delete("c");
      table.delete("nothing");
      table.clear();
      table.set("d", 4);
      throw new Error("no");
    };
    const step = { expected: undefined, next: checkpointAt(1), apply };
    await expect(model.commit("p", step)).rejects.toThrow("no");
    expect(Object.fromEntries(table.rows())).toEqual({ a: 1, b: 2 });
    expect([table.size, table.has("b"), table.has("c")]).toEqual([2, true, false]);
  });
});

describe("handlers that wait", () => {
  const step = { expected: undefined, next: checkpointAt(1), apply: async () => {} };

  test("are refused where a transaction must not be interrupted", async () => {
    const memory = memoryReadModel({ table: new MemoryTable<string, number>() });
    await expect(memory.commit("p", step)).rejects.toThrow("synchronous");
    const database = new DatabaseSync(":memory:");
    const sqlite = sqliteReadModel(database);
    await expect(sqlite.commit("p", step)).rejects.toThrow("synchronous");
    expect(await sqlite.checkpoint("p")).toBeUndefined();
    database.close();
  });
});

describe("SQLite", () => {
  test("that somebody else writes to passes; that is broken does not", async () => {
    const path = join(temporaryFolder(), "busy.db");
    const [one, other] = [new DatabaseSync(path), new DatabaseSync(path)];
    const model = sqliteReadModel(one);
    other.exec("BEGIN IMMEDIATE");
    const step = { expected: undefined, next: checkpointAt(1), apply: () => {} };
    const busy: unknown = await model.commit("p", step).catch((error: unknown) => error);
    expect(model.isTransient(busy)).toBe(true);
    other.exec("COMMIT");
    expect(await model.commit("p", step)).toBe(true);
    const wrong = { ...step, expected: checkpointAt(1), apply: () => one.exec("no SQL") };
    const broken: unknown = await model.commit("p", wrong).catch((error: unknown) => error);
    expect(model.isTransient(broken)).toBe(false);
    const named = (code: string) => model.isTransient(Object.assign(new Error("x"), { code }));
    expect([named("SQLITE_BUSY_SNAPSHOT"), named("SQLITE_CONSTRAINT")]).toEqual([true, false]);
    one.close();
    other.close();
  });
});
