// The rules of this code base as tests. A file that breaks a rule is reported with its line and the
// rule. The rules are functions of (path, text), so that planted faults can show that they work.
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { rooms, wire } from "./rooms.ts";

const linesMax = 400;
const columnsMax = 100;
/** Tests contain sentences and long literals. */
const testColumnsMax = 110;
const kebab = /^[a-z0-9]+(-[a-z0-9]+)*$/;
const vagueName =
  /^(index|utils?|helpers?|managers?|common|misc)$|-(utils?|helpers?|manager|impl)$/;
/** Written so that this file does not contain the words themselves. */
const unfinished = /TO[D]O|FIX[M]E|\.ski[p]\(|\.onl[y]\(/;
const impure = new RegExp(
  [
    String.raw`\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bperformance\.now\b`,
    String.raw`\bprocess\.|\bset(Timeout|Interval|Immediate)\b`,
  ].join("|"),
);

/** Replaces comments by blanks, line by line. Strings stay (`//` inside a string is no comment). */
function withoutComments(text: string): string {
  const quoted = String.raw`"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\x60(?:\\.|[^\x60\\])*\x60`;
  const comment = String.raw`\/\*[\s\S]*?\*\/|\/\/[^\n]*`;
  const token = new RegExp(`${quoted}|${comment}`, "g");
  return text.replace(token, (found) =>
    found.startsWith("/") ? found.replace(/[^\n]/g, " ") : found,
  );
}

function roomOf(path: string): string | undefined {
  const owners = Object.entries(rooms).filter(([, room]) =>
    room.path.endsWith("/") ? path.startsWith(room.path) : path === room.path,
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
  const name = roomOf(path);
  if (name === undefined) return [`${path}: belongs to no room of the table in test/rooms.ts`];
  const room = rooms[name];
  if (room === undefined) return [];
  return importsOf(text).flatMap(({ target, line }) => {
    const at = `${path}:${line}: ${name} may not import ${target}`;
    if (target.startsWith("node:")) return room.node === false ? [at] : [];
    if (!target.startsWith(".")) {
      const known = (room.packages ?? [wire]).some(
        (own) => target === own || target.startsWith(`${own}/`),
      );
      return known ? [] : [at];
    }
    const other = roomOf(normalize(join(dirname(path), target)));
    if (other === undefined) return [`${at}: it belongs to no room`];
    if (other !== name && !room.imports.includes(other)) return [`${at}: ${name} -> ${other}`];
    return [];
  });
}

function nameFaults(path: string): string[] {
  return path
    .split("/")
    .map((part) => part.replace(/(\.test|\.bench|\.d)?\.ts$/, ""))
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
  if (lines.length - 1 > linesMax) faults.push(`${path}: ${lines.length - 1} lines`);
  if (!path.startsWith("src/")) return faults;
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
  test("every import is one that the table allows", () => {
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

  test("proto files are of proto3: buf 1.75's lint stops at unused option imports of an edition", () => {
    for (const path of globSync("proto/annals/**/*.proto")) {
      expect(readFileSync(path, "utf8"), path).toContain('syntax = "proto3";');
    }
  });

  test("proto files hold no dollar sign: Debian 12's protoc plugins stop at it (grpc#32171)", () => {
    const found = globSync("proto/annals/**/*.proto").filter((path) =>
      readFileSync(path, "utf8").includes("$"),
    );
    expect(found).toEqual([]);
  });

  test("this very file is among those looked at", () => {
    expect(ours.map(({ path }) => path)).toContain("test/tidy.test.ts");
  });
});

describe("the tidy rules bite", () => {
  test("no room imports from a room below it in the table, so there is no circle", () => {
    const names = Object.keys(rooms);
    const upwards = Object.entries(rooms).flatMap(([name, room]) =>
      room.imports.filter((other) => !(names.indexOf(other) < names.indexOf(name))),
    );
    expect(upwards).toEqual([]);
  });

  test.each(Object.entries(rooms))(
    "an import that room %s is not allowed is found",
    (name, room) => {
      const inside = (path: string) => (path.endsWith("/") ? `${path}x.ts` : path);
      const others = Object.entries(rooms).filter(([other]) => other !== name);
      for (const [other, { path }] of others) {
        const text = `import type { X } from "${relative(dirname(inside(room.path)), inside(path))}";`;
        const dotted = text.replace(/from "(?!\.)/, 'from "./');
        const allowed = room.imports.includes(other);
        expect(importFaults(inside(room.path), dotted)).toHaveLength(allowed ? 0 : 1);
      }
    },
  );

  test.each([
    ["src/domain/a.ts", 'import { x } from "../storage/port.ts";'],
    ["src/domain/a.ts", 'import { createHash } from "node:crypto";'],
    ["src/storage/port.ts", 'import { open } from "./leveldb/open.ts";'],
    ["src/storage/port.ts", 'import { Level } from "level";'],
    ["src/storage/leveldb/engine.ts", 'export { x } from "../../log/queue.ts";'],
    ["src/log/queue.ts", 'import type { Engine } from "../storage/leveldb/write/engine.ts";'],
    ["src/log/queue.ts", 'import * as grpc from "@grpc/grpc-js";'],
    ["src/grpc/bind.ts", 'const engine = await import("../storage/leveldb/write/engine.ts");'],
    ["src/grpc/bind.ts", 'type E = import("../storage/leveldb/write/engine.ts").Engine;'],
    ["src/grpc/bind.ts", 'import {\n  a,\n  b,\n} from "../server.ts";'],
    ["src/client/client.ts", 'import { limits } from "../domain/limits.ts";'],
    ["src/protocols/kurrentdb/read/a.ts", 'import { write } from "../append/write.ts";'],
    ["src/cli/output/a.ts", 'import { sessionOf } from "../connection/session.ts";'],
    ["src/cli/events/a.ts", 'import { backup } from "../folders/backup.ts";'],
    ["src/log/queue.ts", 'import { x } from "../elsewhere/x.ts";'],
    ["src/elsewhere/x.ts", ""],
  ])("a forbidden import in %s is found: %s", (path, text) => {
    expect(importFaults(path, text)).toHaveLength(1);
  });

  test.each([
    ["src/domain/a.ts", 'import type { Query } from "../gen/annals/v1/query_pb.js";'],
    ["src/domain/a.ts", 'import { RecordedEventSchema } from "../gen/annals/v1/event_pb.js";'],
    ["src/domain/a.ts", 'import { decide } from "./decide.ts"; // not from "node:fs"'],
    ["src/storage/leveldb/kv/level-kv.ts", 'import { Level } from "level";'],
    ["src/storage/leveldb/open.ts", 'import type { Storage } from "../storage.ts";'],
    ["src/server.ts", 'import { openLeveldb } from "./storage/leveldb/open.ts";'],
    ["src/client/client.ts", 'import { EventStoreService } from "../gen/annals/v1/x_pb.js";'],
    ["src/main.ts", 'import { runCommand } from "./cli/run.ts";'],
    ["src/cli/run.ts", 'import { backup } from "./folders/backup.ts";'],
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
    ["too wide", `// Opens.\n${"x".repeat(columnsMax + 1)}\n`],
    ["not introduced", "export const x = 1;\n"],
    ["unfinished", ["// TO", "DO: later\n"].join("")],
    ["switched off", ["// Opens.\ntest.ski", 'p("x", () => {});\n'].join("")],
  ])("a file that is %s is found", (_, text) => {
    expect(textFaults("src/log/a.ts", text)).toHaveLength(1);
  });

  test.each(["src/log/a.ts", "test/log/a.test.ts", "bench/load/a.ts", "examples/a.ts"])(
    "%s may have 400 lines and no more",
    (path) => {
      const lines = (count: number) => `// Opens.\n${"x;\n".repeat(count - 1)}`;
      expect(textFaults(path, lines(linesMax))).toEqual([]);
      expect(textFaults(path, lines(linesMax + 1))).toEqual([`${path}: 401 lines`]);
    },
  );

  test("a clock in the domain is found, in code and not in words", () => {
    expect(purityFaults("src/domain/a.ts", "// no Date.now here\nconst t = Date.now();\n")).toEqual(
      ["src/domain/a.ts:2: Date.now in the domain"],
    );
  });
});
