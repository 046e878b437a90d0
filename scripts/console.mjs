// Builds the console: web/ becomes src/console/files.js, texts by path, which the server serves. With
// --check nothing is written, and it fails if the file is not what the sources make.
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";

const built = "src/console/files.js";
/** All files together, uncompressed. */
const bytesMax = 300_000;
/** uPlot's own styles come first, so that ours win. */
const styles = ["base", "layout", "parts", "pages"].map((name) => `web/style/${name}.css`);

const read = (path) => readFileSync(path, "utf8");

async function script() {
  const build = await rolldown({
    input: "web/src/main.tsx",
    platform: "browser",
    tsconfig: "web/tsconfig.json",
    transform: { target: "es2022" },
  });
  const { output } = await build.generate({ format: "esm", minify: true, codeSplitting: false });
  if (output.length !== 1) throw new Error("the script is not one file");
  return output[0].code;
}

/** Without comments and what only people need. The styles have no texts with spaces that count. */
function shortened(css) {
  return css
    .replaceAll(/\/\*.*?\*\//gs, "")
    .replaceAll(/\s+/g, " ")
    .replaceAll(/ ?([{};,]) ?/g, "$1")
    .replaceAll(/([;{][\w-]+): /g, "$1:")
    .replaceAll(";}", "}")
    .trim();
}

function licences() {
  const packages = ["preact", "uplot"].map((name) => {
    const folder = `node_modules/${name}`;
    const { version } = JSON.parse(read(join(folder, "package.json")));
    const [file] = globSync("LICENSE*", { cwd: folder });
    return `${name} ${version}\n\n${read(join(folder, file)).trim()}`;
  });
  return `/*!\n${packages.join("\n\n")}\n*/\n`;
}

const css = [read("node_modules/uplot/dist/uPlot.min.css"), ...styles.map(read)].join("\n");
const text = (type) => `${type}; charset=utf-8`;
const files = {
  "/": { type: text("text/html"), text: read("web/index.html") },
  "/console/app.js": { type: text("text/javascript"), text: licences() + (await script()) },
  "/console/app.css": { type: text("text/css"), text: shortened(css) },
  "/console/icon.svg": { type: "image/svg+xml", text: read("web/icon.svg") },
};
const bytes = Object.values(files).reduce((sum, each) => sum + Buffer.byteLength(each.text), 0);
if (bytes > bytesMax) throw new Error(`the console has ${bytes} bytes; at most ${bytesMax}`);
const head = "// Built from web/ by `npm run console`. Do not change it by hand.\n";
const module = `${head}export const files = ${JSON.stringify(files, null, 1)};\n`;
if (!process.argv.includes("--check")) {
  writeFileSync(built, module);
  console.log(`console: ${built}, ${bytes} bytes of files`);
} else if (read(built) !== module) {
  console.error(`${built} is not what web/ makes: run \`npm run console\` and commit it`);
  process.exitCode = 1;
}
