// Which files of dist/ an entry point of the client imports, directly or through others.
import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";

const folders = ["dist/client", "dist/gen"];
/** The npm packages that the client may import. */
export const packages = ["@bufbuild/protobuf", "@grpc/grpc-js"];

/** `import` and `export` with only names before the path, and `import("...")`. */
const statement = /(?:^(?:import|export)\s+(?:[\w$*{},\s]+\sfrom\s+)?|\bimport\()"([^"]+)"/gm;

/** The files reached from an entry point, and the packages and files that it must not reach. */
export function reached(entry) {
  const files = new Set();
  const faults = [];
  const look = (file) => {
    if (files.has(file)) return;
    files.add(file);
    for (const [, target = ""] of readFileSync(file, "utf8").matchAll(statement)) {
      if (target.startsWith("node:")) continue;
      const own = packages.some((name) => target === name || target.startsWith(`${name}/`));
      if (own) continue;
      const path = relative(".", resolve(dirname(file), target)).replace(/\.ts$/, ".d.ts");
      const inside = target.startsWith(".") && folders.some((folder) => path.startsWith(folder));
      if (!inside) faults.push(`${file} imports ${target}`);
      else look(file.endsWith(".d.ts") ? path.replace(/(?<!\.d)\.js$/, ".d.ts") : path);
    }
  };
  look(entry);
  return { files, faults };
}
