// Compares the contract with its committed baseline image. `npm run proto:baseline` renews the
// image.
import { spawnSync } from "node:child_process";
import { existsSync, globSync } from "node:fs";

const baseline = "proto/annals-v1.binpb";
if (globSync("proto/**/*.proto").length === 0) {
  console.log("no contract yet: nothing to compare");
} else if (existsSync(baseline)) {
  const args = ["breaking", "proto", "--against", baseline, "--exclude-imports"];
  process.exit(spawnSync("buf", args, { stdio: "inherit" }).status ?? 1);
} else {
  console.error(`${baseline} is missing: make it deliberately with \`npm run proto:baseline\``);
  process.exit(1);
}
