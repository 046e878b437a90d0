// Writes the program as a few files, bin.js and those of program/, instead of six hundred: most of
// a start was finding and reading modules. Beside them stay the modules of the TypeScript client.
//
//   node scripts/bundle.mjs FOLDER    the folder with what tsc has compiled
import { readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";

/** What users import. */
const kept = ["client", "gen"];
/** Native, optional, or one for the whole process. grpc-js loads the last one for channelz only. */
const external = ["level", "pg", "@opentelemetry/api", "@grpc/proto-loader"];

const [folder = "dist"] = process.argv.slice(2);
for (const name of readdirSync(folder)) {
  if (!kept.includes(name)) rmSync(join(folder, name), { recursive: true });
}
const { version } = JSON.parse(readFileSync("package.json", "utf8"));
const build = await rolldown({
  input: "./src/bin.ts",
  platform: "node",
  external,
  transform: { define: { ANNALS_VERSION: JSON.stringify(version), "import.meta.url": "undefined" } },
});
await build.write({
  dir: folder,
  format: "esm",
  entryFileNames: "bin.js",
  chunkFileNames: "program/[name]-[hash].js",
  sourcemap: true,
});
