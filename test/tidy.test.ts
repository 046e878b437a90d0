// The house rules, executed. A file here that breaks one is named with its line and the rule.
// The rules are plain functions of (path, text), so that planted faults can prove that they bite.
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

interface Floor {
  /** What belongs to the floor: a folder (ending in `/`) or one file. The longest match counts. */
  path: string;
  /** Floors it may import from, besides itself. */
  imports: string[];
  /** npm packages it may import. */
  packages: string[];
  /** Whether it may import Node's own modules. */
  node: boolean;
}

const wire = "@bufbuild/protobuf";
const grpc = "@grpc/grpc-js";
const below = ["gen", "domain", "storage", "log"];

/** The allowed edges. Imports only go down; a floor that is not in this table does not exist. */
const floors: Record<string, Floor> = {
  gen: { path: "src/gen/", imports: [], packages: [wire], node: false },
  domain: { path: "src/domain/", imports: ["gen"], packages: [wire], node: false },
  storage: { path: "src/storage/", imports: ["gen", "domain"], packages: [wire], node: true },
  leveldb: {
    path: "src/storage/leveldb/",
    imports: ["gen", "domain", "storage"],
    packages: [wire, "level"],
    node: true,
  },
  log: { path: "src/log/", imports: ["gen", "domain", "storage"], packages: [wire], node: true },
  logger: { path: "src/logger.ts", imports: [], packages: [], node: true },
  grpc: { path: "src/grpc/", imports: [...below, "logger"], packages: [wire, grpc], node: true },
  client: { path: "src/client/", imports: ["gen"], packages: [wire, grpc], node: true },
  config: { path: "src/config.ts", imports: ["domain"], packages: [], node: true },
  server: {
    path: "src/server.ts",
    imports: [...below, "leveldb", "grpc", "config", "logger"],
    packages: [wire, grpc],
    node: true,
  },
  cli: {
    path: "src/cli/",
    imports: [...below, "leveldb", "client", "config", "server", "logger"],
    packages: [wire, grpc],
    node: true,
  },
  main: {
    path: "src/main.ts",
    imports: ["domain", "storage", "leveldb", "client", "config", "server", "cli"],
    packages: [],
    node: true,
  },
};

const linesMax = 400;
const columnsMax = 100;
/** Tests hold sentences and long literals. */
const testColumnsMax = 110;
const kebab = /^[a-z0-9]+(-[a-z0-9]+)*$/;
const vagueName =
  /^(index|utils?|helpers?|managers?|common|misc)$|-(utils?|helpers?|manager|impl)$/;
/** Written so that this file does not contain the words it looks for. */
const unfinished = /TO[D]O|FIX[M]E|\.ski[p]\(|\.onl[y]\(/;
const impure = new RegExp(
  [
    String.raw`\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bperformance\.now\b`,
    String.raw`\bprocess\.|\bset(Timeout|Interval|Immediate)\b`,
  ].join("|"),
);

/** Comments become blanks, line by line; strings stay (`//` inside a string ends nothing). */
function withoutComments(text: string): string {
  const quoted = String.raw`"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\x60(?:\\.|[^\x60\\])*\x60`;
  const comment = String.raw`\/\*[\s\S]*?\*\/|\/\/[^\n]*`;
  const token = new RegExp(`${quoted}|${comment}`, "g");
  return text.replace(token, (found) =>
    found.startsWith("/") ? found.replace(/[^\n]/g, " ") : found,
  );
}

function floorOf(path: string): string | undefined {
  const owners = Object.entries(floors).filter(([, floor]) =>
    floor.path.endsWith("/") ? path.startsWith(floor.path) : path === floor.path,
  );
  return owners.toSorted((a, b) => b[1].path.length - a[1].path.length)[0]?.[0];
}

interface Import {
  target: string;
  line: number;
}

/** Every `import`, `export ... from`, `import()` and `import("...")` type of a source text. */
function importsOf(text: string): Import[] {
  const code = withoutComments(text);
  const from = String.raw`\b(?:import|export)(?:\s+type)?\b[^"'\x60;()]*?\bfrom\s*`;
  const bare = String.raw`(?<!["'\x60])\bimport\s*\(?\s*`;
  const statement = new RegExp(
    `${from}["'](?<from>[^"']+)["']|${bare}["'](?<bare>[^"']+)["']`,
    "g",
  );
  return [...code.matchAll(statement)].map((match) => ({
    target: match.groups?.["from"] ?? match.groups?.["bare"] ?? "",
    line: code.slice(0, match.index).split("\n").length,
  }));
}

function importFaults(path: string, text: string): string[] {
  const name = floorOf(path);
  if (name === undefined) return [`${path}: belongs to no floor of the table in test/tidy.test.ts`];
  const floor = floors[name];
  if (floor === undefined) return [];
  return importsOf(text).flatMap(({ target, line }) => {
    const at = `${path}:${line}: ${name} may not import ${target}`;
    if (target.startsWith("node:")) return floor.node ? [] : [at];
    if (!target.startsWith(".")) {
      const known = floor.packages.some((own) => target === own || target.startsWith(`${own}/`));
      return known ? [] : [at];
    }
    const other = floorOf(normalize(join(dirname(path), target)));
    if (other === undefined) return [`${at}: it belongs to no floor`];
    if (other !== name && !floor.imports.includes(other)) return [`${at}: ${name} -> ${other}`];
    return [];
  });
}

function nameFaults(path: string): string[] {
  return path
    .split("/")
    .map((part) => part.replace(/(\.test|\.bench)?\.ts$/, ""))
    .flatMap((part) => {
      if (!kebab.test(part)) return [`${path}: ${part} is not kebab-case`];
      return vagueName.test(part) ? [`${path}: ${part} says nothing; name what is in it`] : [];
    });
}

function textFaults(path: string, text: string): string[] {
  const lines = text.split("\n");
  const faults = lines.flatMap((line, index) => {
    const at = `${path}:${index + 1}:`;
    const wide =
      line.length > (path.startsWith("test/") ? testColumnsMax : columnsMax)
        ? [`${at} ${line.length} columns`]
        : [];
    return unfinished.test(line) ? [...wide, `${at} unfinished or switched off`] : wide;
  });
  if (!path.startsWith("src/")) return faults;
  if (lines.length - 1 > linesMax) faults.push(`${path}: ${lines.length - 1} lines`);
  const opening = lines[0]?.startsWith("#!") ? lines[1] : lines[0];
  if (!/^\/[/*]/.test(opening ?? "")) faults.push(`${path}:1: opens without a comment on its part`);
  return faults;
}

function purityFaults(path: string, text: string): string[] {
  if (!path.startsWith("src/domain/")) return [];
  return withoutComments(text)
    .split("\n")
    .flatMap((line, index) => {
      const found = impure.exec(line)?.[0];
      return found === undefined ? [] : [`${path}:${index + 1}: ${found} in the domain`];
    });
}

const ours = ["src", "test", "bench", "examples"]
  .flatMap((folder) => globSync(`${folder}/**/*.ts`))
  .filter((path) => !path.startsWith("src/gen/") && !path.includes("node_modules"))
  .map((path) => ({ path, text: readFileSync(path, "utf8") }));
const sources = ours.filter(({ path }) => path.startsWith("src/"));

describe("the house is tidy", () => {
  test("imports only go down, along the edges of the table", () => {
    expect(sources.flatMap(({ path, text }) => importFaults(path, text))).toEqual([]);
  });

  test("files and folders are kebab-case and named after what is in them", () => {
    expect(ours.flatMap(({ path }) => nameFaults(path))).toEqual([]);
  });

  test("files are short, narrow, introduced and finished", () => {
    expect(ours.flatMap(({ path, text }) => textFaults(path, text))).toEqual([]);
  });

  test("the domain has no clock, no randomness and no I/O", () => {
    expect(sources.flatMap(({ path, text }) => purityFaults(path, text))).toEqual([]);
  });

  test("this very file is among those looked at", () => {
    expect(ours.map(({ path }) => path)).toContain("test/tidy.test.ts");
  });
});

describe("the tidy rules bite", () => {
  test.each([
    ["src/domain/a.ts", 'import { x } from "../storage/port.ts";'],
    ["src/domain/a.ts", 'import { createHash } from "node:crypto";'],
    ["src/storage/port.ts", 'import { open } from "./leveldb/engine.ts";'],
    ["src/storage/port.ts", 'import { Level } from "level";'],
    ["src/storage/leveldb/engine.ts", 'export { x } from "../../log/queue.ts";'],
    ["src/log/queue.ts", 'import type { Engine } from "../storage/leveldb/engine.ts";'],
    ["src/log/queue.ts", 'import * as grpc from "@grpc/grpc-js";'],
    ["src/grpc/bind.ts", 'const engine = await import("../storage/leveldb/engine.ts");'],
    ["src/grpc/bind.ts", 'type E = import("../storage/leveldb/engine.ts").Engine;'],
    ["src/grpc/bind.ts", 'import {\n  a,\n  b,\n} from "../server.ts";'],
    ["src/client/client.ts", 'import { limits } from "../domain/limits.ts";'],
    ["src/log/queue.ts", 'import { x } from "../elsewhere/x.ts";'],
    ["src/elsewhere/x.ts", ""],
  ])("a forbidden import in %s is found: %s", (path, text) => {
    expect(importFaults(path, text)).toHaveLength(1);
  });

  test.each([
    ["src/domain/a.ts", 'import type { Query } from "../gen/annals/v1/query_pb.js";'],
    ["src/domain/a.ts", 'import { RecordedEventSchema } from "../gen/annals/v1/event_pb.js";'],
    ["src/domain/a.ts", 'import { decide } from "./decide.ts"; // not from "node:fs"'],
    ["src/storage/leveldb/engine.ts", 'import { Level } from "level";'],
    ["src/storage/leveldb/engine.ts", 'import type { Storage } from "../port.ts";'],
    ["src/server.ts", 'import { openLeveldb } from "./storage/leveldb/engine.ts";'],
    ["src/client/client.ts", 'import { EventStoreService } from "../gen/annals/v1/x_pb.js";'],
    ["src/main.ts", 'import { serve } from "./cli/serve.ts";'],
  ])("an allowed import in %s passes: %s", (path, text) => {
    expect(importFaults(path, text)).toEqual([]);
  });

  test.each(["src/log/index.ts", "src/log/Queue.ts", "src/log/queue-manager.ts", "src/utils/a.ts"])(
    "the name %s is refused",
    (path) => {
      expect(nameFaults(path)).toHaveLength(1);
    },
  );

  test.each([
    ["too long", `// Opens.\n${"x;\n".repeat(linesMax)}`],
    ["too wide", `// Opens.\n${"x".repeat(columnsMax + 1)}\n`],
    ["not introduced", "export const x = 1;\n"],
    ["unfinished", ["// TO", "DO: later\n"].join("")],
    ["switched off", ["// Opens.\ntest.ski", 'p("x", () => {});\n'].join("")],
  ])("a file that is %s is found", (_, text) => {
    expect(textFaults("src/log/a.ts", text)).toHaveLength(1);
  });

  test("a clock in the domain is found, in code and not in words", () => {
    expect(purityFaults("src/domain/a.ts", "// no Date.now here\nconst t = Date.now();\n")).toEqual(
      ["src/domain/a.ts:2: Date.now in the domain"],
    );
  });
});
