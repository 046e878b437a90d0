// Which files `annals` loads for a command: counted in a process of its own, by a loader hook.
import { execFile } from "node:child_process";

const hook = `import { registerHooks } from "node:module";
registerHooks({ load(url, context, next) {
  if (url.startsWith("file:")) process.stderr.write("loaded " + url + "\\n");
  return next(url, context);
} });`;

/** The URLs of all files, whatever the command's exit code. */
export function loaded(args: readonly string[]): Promise<string[]> {
  const flags = ["--import", `data:text/javascript,${encodeURIComponent(hook)}`];
  return new Promise((resolve) => {
    execFile(process.execPath, [...flags, "src/main.ts", ...args], (_, __, errors) => {
      const lines = errors.split("\n").filter((line) => line.startsWith("loaded "));
      resolve(lines.map((line) => line.slice("loaded ".length)));
    });
  });
}
