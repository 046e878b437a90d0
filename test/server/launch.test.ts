// The server's entry point runs it with settings for its memory, whatever started it: `npm start`,
// `npx annals`, or a unit of systemd.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";

const memoryFlags = ["--max-semi-space-size=8", "--initial-old-space-size=64", "--expose-gc"];
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** What the process that serves was started with. */
async function started(command: readonly string[], environment: Record<string, string> = {}) {
  const [program = "", ...rest] = command;
  const child = spawn(program, [...rest, "--memory", "--port", "0"], {
    env: { PATH: process.env["PATH"], ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  await once(child.stdout, "data");
  const of = (file: string): string[] =>
    readFileSync(`/proc/${child.pid}/${file}`, "latin1").split("\0").slice(0, -1);
  return { environ: of("environ"), command: of("cmdline").slice(1) };
}

// Node on other systems cannot execute itself anew, and their C libraries have no such settings.
describe.runIf(process.platform === "linux")("the entry point", () => {
  const serve = [process.execPath, "src/bin.ts", "serve"];

  test("sets flags of Node and of the C library, and keeps the process id", async () => {
    const { environ, command } = await started(serve);
    expect(environ).toEqual(
      expect.arrayContaining(["MALLOC_ARENA_MAX=2", "MALLOC_MMAP_THRESHOLD_=262144"]),
    );
    expect(command.slice(0, 3)).toEqual(memoryFlags);
    expect(command).toContain("serve");
  });

  test("leaves alone what is set already", async () => {
    const own = { MALLOC_ARENA_MAX: "3", NODE_OPTIONS: "--max-semi-space-size=9" };
    const { environ, command } = await started(serve, own);
    expect(environ).toEqual(
      expect.arrayContaining(["MALLOC_ARENA_MAX=3", "MALLOC_MMAP_THRESHOLD_=262144"]),
    );
    expect(command.join(" ")).not.toContain("semi-space");
    expect(command).toContain("--expose-gc");
  });

  test("is not executed anew where the images have set everything", () => {
    const given =
      /^ENV (MALLOC(?:.*\\\n)*.*)$/m.exec(readFileSync("Dockerfile", "utf8"))?.[1] ?? "";
    const settings = given.split(/[\s\\]+/);
    const [, entry = "[]"] = /^ENTRYPOINT (.*)$/m.exec(readFileSync("Dockerfile", "utf8")) ?? [];
    const [, ...flags] = JSON.parse(entry) as string[];
    expect(flags.slice(0, -1)).toEqual(memoryFlags);
    expect(settings).toHaveLength(4);
    const image = readFileSync("scripts/packages/image.mjs", "utf8");
    for (const setting of settings) expect(image).toContain(`"${setting}"`);
    const program = readFileSync("src/bin.ts", "utf8");
    for (const setting of settings) {
      const [name = "", value = ""] = setting.split(/=(.*)/);
      expect(program).toContain(name);
      expect(program).toContain(value);
    }
  });

  test("is what npm start and the package's command run", () => {
    const { scripts, bin } = JSON.parse(readFileSync("package.json", "utf8")) as {
      scripts: Record<string, string>;
      bin: Record<string, string>;
    };
    expect(scripts["start"]).toBe("node src/bin.ts serve");
    expect(bin).toEqual({ annals: "dist/bin.js" });
  });
});
