// Finds a Java Development Kit by looking: JAVA_HOME, the `javac` on the path, and the folders where
// they are usually installed.

import { existsSync, globSync, readFileSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";

const usual = [
  "/usr/lib/jvm/*",
  join(homedir(), ".sdkman/candidates/java/*"),
  join(homedir(), ".jdks/*"),
  "/Library/Java/JavaVirtualMachines/*/Contents/Home",
];

/** The home of the first JDK of at least this version; of those in usual folders, the newest. */
export function findJdk(versionMin: number): string | undefined {
  const onPath = (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((folder) => join(folder, "javac"))
    .filter((path) => existsSync(path))
    .map((path) => dirname(dirname(realpathSync(path))));
  const installed = usual
    .flatMap((pattern) => globSync(pattern))
    .toSorted((a, b) => versionOf(b) - versionOf(a));
  const homes = [process.env["JAVA_HOME"] ?? "", ...onPath, ...installed];
  return homes.find((home) => versionOf(home) >= versionMin);
}

/** By the file `release`, which every JDK has since 7. 0: no JDK is there. */
function versionOf(home: string): number {
  const release = join(home, "release");
  if (!existsSync(join(home, "bin/javac")) || !existsSync(release)) return 0;
  return Number(/^JAVA_VERSION="(\d+)/m.exec(readFileSync(release, "utf8"))?.[1] ?? 0);
}
