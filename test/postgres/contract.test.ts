// The PostgreSQL engine under the port's contract, over a server of the tests' own.
import { afterAll, beforeAll, expect, test } from "vitest";
import type { OpenEngine } from "../storage/contract/checks.ts";
import { storageSuite } from "../storage/contract/contract.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { openPostgresEngine } from "./postgres-storage.ts";

const programs = postgresPrograms();
if (programs === undefined) {
  console.error("PostgreSQL: NOT RUN: it is not installed (Debian: apt-get install postgresql)");
}

let postgres: PostgresServer;

beforeAll(async () => {
  if (programs !== undefined) postgres = await startPostgres(programs);
});
afterAll(() => postgres?.remove());

test("PostgreSQL is there where it is required", () => {
  const isRequired = process.env["REQUIRE_POSTGRES"] !== undefined;
  expect(isRequired && programs === undefined).toBe(false);
});

if (programs !== undefined) {
  const open: OpenEngine = (clock) => openPostgresEngine(postgres.connectionString, clock);
  storageSuite("postgres", open, { runs: 10 });
}
