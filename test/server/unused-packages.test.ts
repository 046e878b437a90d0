// The packages that @grpc/grpc-js installs for channelz and ORCA are never loaded. The documentation
// says so to those who read the bill of materials.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { commandHelp } from "../../src/cli/help.ts";
import { loaded } from "./loaded-modules.ts";

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly dependencies?: Record<string, string> } | undefined>
  >;
}

/** The packages of `@grpc/proto-loader`; a package that other parts need as well is not among them. */
function ofProtoLoader(): Set<string> {
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as Lock;
  const found = new Set<string>();
  const look = (name: string) => {
    if (found.has(name)) return;
    found.add(name);
    const { dependencies = {} } = packages[`node_modules/${name}`] ?? {};
    for (const each of Object.keys(dependencies)) look(each);
  };
  look("@grpc/proto-loader");
  return found;
}

const path = "/dev/null/none";
const nowhere = ["--address", "127.0.0.1:1", "--timeout", "200ms"];
const runs: Readonly<Record<string, readonly string[]>> = {
  append: ["s", "T", ...nowhere],
  stream: ["s", ...nowhere],
  state: ["s", ...nowhere],
  snapshots: ["s", ...nowhere],
  import: [path],
  serve: ["--data", path, "--port", "0"],
  backup: [path, path],
  restore: [path, path],
  help: [],
  version: [],
  parked: ["list", "g", ...nowhere],
};
const endless = new Set(["consume"]);

test("no command loads what only channelz needs", { timeout: 120_000 }, async () => {
  const unused = [...ofProtoLoader()].map((name) => `/node_modules/${name}/`);
  expect(unused.length).toBeGreaterThan(20);
  for (const { name } of commandHelp.filter((each) => !endless.has(each.name))) {
    const files = await loaded([name, ...(runs[name] ?? nowhere)]);
    expect(files.length, name).toBeGreaterThan(3);
    const wrong = files.filter((file) => unused.some((part) => file.includes(part)));
    expect(wrong, name).toEqual([]);
  }
});
