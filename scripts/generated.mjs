// Fails if src/gen differs from what the protos generate: generates again and compares.
import { spawnSync } from "node:child_process";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";

mkdirSync(".tmp", { recursive: true });
const fresh = mkdtempSync(".tmp/generated-");
const files = (folder) =>
  globSync("**/*", { cwd: folder }).filter((path) => statSync(join(folder, path)).isFile());
try {
  const buf = spawnSync("buf", ["generate", "--output", fresh], { stdio: "inherit" });
  if (buf.status !== 0) throw new Error(`buf generate failed: ${buf.signal ?? buf.status}`);
  const stale = [...new Set([...files(join(fresh, "src/gen")), ...files("src/gen")])].filter(
    (path) => {
      const [wanted, found] = [join(fresh, "src/gen", path), join("src/gen", path)];
      return (
        !existsSync(wanted) ||
        !existsSync(found) ||
        !readFileSync(wanted).equals(readFileSync(found))
      );
    },
  );
  for (const path of stale) console.error(`src/gen/${path} is not what the protos generate`);
  if (stale.length > 0) {
    console.error("run `npm run generate` and commit src/gen");
    process.exitCode = 1;
  }
} finally {
  rmSync(fresh, { recursive: true, force: true });
}
