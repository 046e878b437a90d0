// The adapters in Python (adapters/): each is installed as its users install it, in a virtual
// environment of its own, is type-checked, and runs its tests, which start servers and kill some.

import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { build, execute, missingTool, type Built, type Sources } from "../clients/build-cache.ts";
import { node, repository, startLiveServer } from "../clients/live-server.ts";
import { notRun, printReport, ran } from "../clients/report.ts";
import { pythonNeeds, type Toolchain } from "../clients/toolchains.ts";

const python = "venv/bin/python";

export interface PythonAdapter {
  readonly name: string;
  /** How many test cases its own suite has: all of them must run. */
  readonly cases: number;
  /** Folders of packages in this repository, in the order in which they are installed. */
  readonly packages: readonly string[];
  /** Of its examples: arguments, and what is printed. They run in order, against one server. */
  readonly examples: readonly (readonly [args: readonly string[], printed: string])[];
}

export function testPythonAdapter(adapter: PythonAdapter): void {
  const { name, cases, examples } = adapter;
  const here = `adapters/${name}`;
  afterAll(printReport);

  test(`${name}: its own ${cases} cases pass`, async ({ skip }) => {
    const { folder, seconds } = await installed(adapter, skip);
    const since = performance.now();
    const env = {
      ANNALS_SERVE: `${node} ${join(repository, "src/main.ts")} serve`,
      PYTHONPATH: join(folder, "adapters/python-client/tests"),
    };
    const command = `${python} -m unittest discover --start-directory ${here}/tests 2>&1`;
    const said = await execute(["sh", "-c", command], folder, env);
    const counted = /^Ran (\d+) tests? in .*\n\n(OK.*)$/m.exec(said);
    expect(counted?.slice(1), said.slice(-2_000)).toEqual([String(cases), "OK"]);
    ran(`${name}, ${cases} cases`, seconds, (performance.now() - since) / 1_000);
  });

  test(`${name}: its types are right for mypy --strict`, async ({ skip }) => {
    const { folder } = await installed(adapter, skip);
    const said = await execute(["../../venv/bin/mypy"], join(folder, here));
    expect(said).toMatch(/^Success: no issues found in \d+ source files\n$/);
  });

  test(`${name}: the first lines of its README and its examples run`, async ({ skip }) => {
    const { folder } = await installed(adapter, skip);
    const server = await startLiveServer();
    // What an example keeps beside the store belongs to this store.
    const kept = mkdtempSync(join(tmpdir(), "annals-example-"));
    try {
      const env = { ANNALS_ADDRESS: server.address, COURSES_DB: join(kept, "courses.db") };
      const page = readFileSync(join(repository, here, "README.md"), "utf8");
      const code = /```python\n(.*?)```/s.exec(page)?.[1] ?? "";
      const lines = code.replaceAll("127.0.0.1:7420", server.address);
      expect(await execute([python, "-c", lines], folder, env)).not.toBe("");
      for (const [args, printed] of examples) {
        const [script = "", ...rest] = args;
        const command = [python, `${here}/examples/${script}`, ...rest];
        expect(await execute(command, folder, env)).toBe(printed);
      }
    } finally {
      await server.stop();
      rmSync(kept, { recursive: true, force: true });
    }
  });
}

async function installed(
  { name, packages }: PythonAdapter,
  skip: (why: string) => never,
): Promise<Built> {
  const pip = ["venv/bin/pip", "install", "--quiet", "--disable-pip-version-check"];
  const pinned = ["--requirement", `adapters/${name}/tests/requirements.txt`];
  const toolchain: Toolchain = {
    name: `adapter-${name}`,
    needs: pythonNeeds,
    build: [
      ["python3", "-m", "venv", "venv"],
      [...pip, ...pinned],
      [...pip, "--force-reinstall", "--no-deps", ...packages.map((path) => `./${path}`)],
    ],
    run: [],
  };
  const missing = await missingTool(toolchain);
  if (missing === undefined) return build(toolchain, filesOf(packages));
  notRun(name, missing);
  return skip(`not run: ${missing}`);
}

/** Packages with the contract, by their paths in the repository, without what a build leaves. */
function filesOf(packages: readonly string[]): Sources {
  const kept = "{*,annals/*,eventsourcing_annals/*,examples/*,tests/*}.{py,toml,txt,md,typed}";
  const cwd = repository;
  const own = packages.flatMap((path) => globSync(`${path}/${kept}`, { cwd }));
  const protos = globSync("proto/annals/**/*.proto", { cwd });
  return new Map([...own, ...protos].map((path) => [path, join(cwd, path)] as const));
}
