// Builds dist/: compiles the sources, copies the generated JavaScript and declarations, bundles the
// program, and writes what all of it is made of.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, rmSync } from "node:fs";
import { writeBill } from "./bill.mjs";

rmSync("dist", { recursive: true, force: true });
const tsc = spawnSync("tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
if (tsc.status !== 0) process.exit(tsc.status ?? 1);
if (existsSync("src/gen")) cpSync("src/gen", "dist/gen", { recursive: true });
const bundle = spawnSync(process.execPath, ["scripts/bundle.mjs", "dist"], { stdio: "inherit" });
if (bundle.status !== 0) process.exit(bundle.status ?? 1);
writeBill();
