// Completion: the script for bash is run in bash, those for other shells in theirs where they are
// installed, and all of them are compared with what the commands take.
import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { commandHelp } from "../../src/cli/help.ts";
import { run } from "./captured-terminal.ts";

/** What bash offers for a command line; the last word is the one that is being written. */
function offered(script: string, words: readonly string[]): string[] {
  const program = `${script}
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_annals
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync("bash", ["-c", program, "bash", ...words], { encoding: "utf8" });
  return output.split("\n").filter((line) => line !== "");
}

test("bash completes commands, verbs and options", async () => {
  const { code, output: script } = await run(["completion", "bash"]);
  expect(code).toBe(0);
  expect(offered(script, ["annals", ""])).toEqual(commandHelp.map(({ name }) => name));
  expect(offered(script, ["annals", "str"])).toEqual(["streams", "stream"]);
  expect(offered(script, ["annals", "groups", "re"])).toEqual(["reset"]);
  expect(offered(script, ["annals", "groups", "create", "--orde"])).toEqual(["--ordering"]);
  expect(offered(script, ["annals", "help", "tok"])).toEqual(["tokens"]);
  expect(offered(script, ["annals", "read", "--addr"])).toEqual(["--address"]);
  expect(offered(script, ["annals", "serve", "--unix-socket-a"])).toEqual(["--unix-socket-access"]);
  expect(offered(script, ["annals", "streams", "--wi"])).toEqual(["--wide"]);
  expect(offered(script, ["annals", "streams", "-o", ""])).toEqual(["table", "json", "ndjson"]);
  expect(offered(script, ["annals", "top", "--on"])).toEqual(["--once"]);
  expect(offered(script, ["annals", "bench", "--in"])).toEqual(["--in-flight"]);
  expect(offered(script, ["annals", "restore", "/etc/host"])).toEqual([]);
  expect(offered(script, ["annals", "nothing", ""])).toEqual([]);
});

test.each(["zsh", "fish"])("the script for %s is one that %s reads", async (shell) => {
  const { code, output: script } = await run(["completion", shell]);
  expect(code).toBe(0);
  for (const { name } of commandHelp) expect(script).toContain(name);
  expect(script).toContain("--ordering".slice(shell === "fish" ? 2 : 0));
  const tried = spawnSync(shell, ["-n"], { input: script, encoding: "utf8" });
  if (tried.error !== undefined) {
    console.error(`completion for ${shell}: NOT RUN: ${shell} is not installed`);
    return;
  }
  expect(tried.stderr).toBe("");
});

test("an unknown shell is refused with those that are known", async () => {
  const { code, errors } = await run(["completion", "tcsh"]);
  expect(code).toBe(2);
  expect(errors).toContain('no completion for "tcsh"; there is one for bash, zsh, fish');
});
