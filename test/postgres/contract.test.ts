// The PostgreSQL engine under the port's contract, over a server of the tests' own, or over the
// database that CONFORMANCE_STORAGE names (conformance.ts).
import { afterAll, beforeAll, expect, test } from "vitest";
import type { OpenEngine } from "../storage/contract/checks.ts";
import { storageSuite } from "../storage/contract/contract.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { dropLeftStores, openPostgresEngine } from "./postgres-storage.ts";

const given = process.env["CONFORMANCE_STORAGE"];
const programs = postgresPrograms();
if (programs === undefined && given === undefined) {
  console.error("PostgreSQL: NOT RUN: it is not installed (Debian: apt-get install postgresql)");
}

let postgres: PostgresServer | undefined;
let url = given ?? "";

beforeAll(async () => {
  if (programs === undefined || given !== undefined) return;
  postgres = await startPostgres(programs);
  url = postgres.connectionString;
});
afterAll(async () => {
  if (url !== "") await dropLeftStores(url);
  await postgres?.remove();
});

test("PostgreSQL is there where it is required", () => {
  const isRequired = process.env["REQUIRE_POSTGRES"] !== undefined;
  expect(isRequired && programs === undefined).toBe(false);
});

if (programs !== undefined || given !== undefined) {
  const open: OpenEngine = (clock) => openPostgresEngine(url, clock);
  storageSuite("postgres", open, { runs: 10 });
}
