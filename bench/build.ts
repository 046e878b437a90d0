// Compiles the product into a folder of the benchmark, so that the benchmark measures what an
// installation runs, without the compiler that `node src/main.ts` contains.

import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Inside the repository, so that its packages are found. Ignored by git. */
const folder = join(root, ".tmp", "bench");

/**
 * Returns the path of the program. `--profile` uses the sources instead, for their line numbers.
 */
export function buildProduct(): string {
  const dist = join(folder, "dist");
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const compiler = join(root, "node_modules", ".bin", "tsc");
  const program = join(dist, "bin.js");
  const { status } = spawnSync(compiler, ["-p", "tsconfig.build.json", "--outDir", dist], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  // The compiler also emits code with type errors. Reporting those is not the benchmark's task.
  if (status !== 0 && !existsSync(program)) throw new Error("the product does not compile");
  cpSync(join(root, "src", "gen"), join(dist, "gen"), { recursive: true });
  const bundled = spawnSync(process.execPath, ["scripts/bundle.mjs", dist], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (bundled.status !== 0) throw new Error("the product cannot be bundled");
  copyFileSync(join(root, "package.json"), join(folder, "package.json"));
  return program;
}

export const sources = join(root, "src", "bin.ts");
