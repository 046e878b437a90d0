// The product as it is shipped, compiled into a folder of the benchmark's own: what is measured is
// what an installation runs, without the compiler that `node src/main.ts` carries along.

import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Inside the repository, so that its packages are found; ignored by git. */
const folder = join(root, ".tmp", "bench");

/** Answers the program. `--profile` wants the sources themselves, with their lines. */
export function buildProduct(): string {
  const dist = join(folder, "dist");
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const compiler = join(root, "node_modules", ".bin", "tsc");
  const program = join(dist, "main.js");
  const { status } = spawnSync(compiler, ["-p", "tsconfig.build.json", "--outDir", dist], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  // The compiler also emits what it complains of; judging it is not a benchmark's part.
  if (status !== 0 && !existsSync(program)) throw new Error("the product does not compile");
  cpSync(join(root, "src", "gen"), join(dist, "gen"), { recursive: true });
  copyFileSync(join(root, "package.json"), join(folder, "package.json"));
  return program;
}

export const sources = join(root, "src", "main.ts");
