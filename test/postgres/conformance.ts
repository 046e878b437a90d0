// `npm run conformance -- --storage postgres://...`: the contract test of the storage port against a
// database that somebody else runs. Each store gets a schema of its own, which is dropped again.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { asking } from "./postgres-storage.ts";

const { values } = parseArgs({ options: { storage: { type: "string" } } });
const { storage } = values;
if (storage === undefined || !/^postgres(ql)?:\/\//.test(storage)) {
  process.stderr.write("npm run conformance -- --storage postgres://USER:PASSWORD@HOST/DATABASE\n");
  process.exit(2);
}
const schema = `conformance-${process.pid}`;
try {
  await asking(storage, `CREATE SCHEMA "${schema}"`);
  await asking(storage, `DROP SCHEMA "${schema}"`);
} catch (error) {
  const { message, code } = error as Error & { readonly code?: string };
  const why = message || code || String(error);
  process.stderr.write(`--storage needs a role that may create schemas in the database: ${why}\n`);
  process.exit(1);
}
const vitest = join(import.meta.dirname, "../../node_modules/vitest/vitest.mjs");
const args = [vitest, "run", "--project", "postgres", "test/postgres/contract.test.ts"];
const environment = { ...process.env, CONFORMANCE_STORAGE: storage };
const run = spawn(process.execPath, args, { stdio: "inherit", env: environment });
const [code] = (await once(run, "exit")) as [number | null];
process.exitCode = code ?? 1;
