// The gate for people and CI: runs every step in order, with its time, and stops at the first
// failure. `npm run check -- types lint` runs only the named steps.
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";

const contract = globSync("proto/**/*.proto").length > 0;
const report = "--reporter=json --outputFile.json=.tmp/reports/test.json";

/** Name and command of each step. Steps that need a contract are skipped if there is none. */
const steps = [
  ["proto-lint", "buf lint", contract],
  ["proto-format", "buf format proto --diff --exit-code", contract],
  ["proto-breaking", "node scripts/breaking.mjs", contract],
  ["generated", "node scripts/generated.mjs && node scripts/console.mjs --check", contract],
  ["format", "npm run --silent format:check"],
  ["types", "npm run --silent types"],
  ["lint", "npm run --silent lint"],
  ["deadcode", "npm run --silent deadcode"],
  ["build", "npm run --silent build"],
  ["package", "node scripts/package.mjs"],
  ["test", `npm run --silent test -- --reporter=default ${report}`],
];

const only = process.argv.slice(2);
const unknown = only.filter((name) => !steps.some((step) => step[0] === name));
if (unknown.length > 0) {
  console.error(
    `no such step: ${unknown.join(", ")}; there are ${steps.map((s) => s[0]).join(", ")}`,
  );
  process.exit(2);
}

/** Which packages are not installed as package.json says. */
function missingPackages() {
  const json = (path) => JSON.parse(readFileSync(path, "utf8"));
  const { dependencies, devDependencies } = json("package.json");
  return Object.entries({ ...dependencies, ...devDependencies }).flatMap(([name, version]) => {
    const path = `node_modules/${name}/package.json`;
    return existsSync(path) && json(path).version === version ? [] : [`${name} ${version}`];
  });
}

const missing = missingPackages();
if (missing.length > 0) {
  console.error(
    `check: FAILED: not installed: ${missing.join(", ")}. Run npm ci, then check again.`,
  );
  process.exit(1);
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const started = performance.now();
for (const [name, command, applies = true] of steps) {
  if (only.length > 0 && !only.includes(name)) continue;
  if (!applies) {
    console.log(`check: ${name} skipped, nothing to check yet`);
    continue;
  }
  const since = performance.now();
  const { status, signal } = spawnSync(command, { shell: true, stdio: "inherit" });
  if (status !== 0) {
    const why = signal ?? `exit code ${status}`;
    console.error(`check: ${name} FAILED after ${seconds(since)} (${why}): ${command}`);
    process.exit(status ?? 1);
  }
  console.log(`check: ${name} ok, ${seconds(since)}`);
}
console.log(`check: all ok, ${seconds(started)}`);
