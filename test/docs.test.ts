// The documents against the code: tables name each reason, option, command and error code once, and
// nothing else; paths, links and scripts that a page names exist; pages keep their size.
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { performanceDocument } from "../bench/report/document.ts";
import type { ResultRow } from "../bench/rows.ts";
import { outlooks } from "../src/client/store/reasons.ts";
import { exitCode } from "../src/cli/arguments/options.ts";
import { commandHelp } from "../src/cli/help.ts";
import { flagOf, optionNames, options, variableOf } from "../src/options.ts";
import { ErrorReason } from "../src/gen/annals/v1/errors_pb.js";

const read = (path: string): string => readFileSync(path, "utf8");
const pagePaths = [
  ...globSync("*.md"),
  ...globSync("docs/**/*.md"),
  ...globSync("examples/**/*.md"),
  "bench/commentary.md",
];
const pages = pagePaths.map((path) => ({ path, text: read(path) }));

/** The rows of every table below a heading, each as its cells without backticks around them. */
function rowsBelow(path: string, heading: string): string[][] {
  const text = read(path);
  const start = text.indexOf(`\n## ${heading}\n`);
  expect(start, `${path} has no heading ${heading}`).toBeGreaterThan(-1);
  const [section = ""] = text.slice(start + 4).split("\n## ");
  const lines = section.split("\n").filter((line) => line.startsWith("|"));
  const rule = lines.findIndex((line) => line.startsWith("|---"));
  return lines.slice(rule + 1).map((line) =>
    line
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replace(/^`([^`]*)`$/, "$1")),
  );
}

/** As `rowsBelow`, of the table under a heading of the third level. */
function rowsUnder(path: string, heading: string): string[][] {
  const [, section = ""] = read(path).split(`\n### ${heading}\n`);
  const [table = ""] = section.split("\n#");
  return [...table.matchAll(/^\| `([^`]*)` \|(.*)\|$/gm)].map(([, text = "", rest = ""]) => [
    text,
    rest,
  ]);
}

/**
 * The texts in a source that follow a pattern, with `…` for each value, and joined where they are
 * written in two parts.
 */
function textsIn(path: string, before: string): string[] {
  const source = read(path)
    .replaceAll(/\$\{(?:[^{}]|\{[^}]*\})*\}/g, "…")
    .replaceAll(/["`] \+\s+["`]/g, "");
  const pattern = new RegExp(`(?:${before})\\s*["\`]([^"\`]*)["\`]`, "g");
  return [...source.matchAll(pattern)].map(([, text = ""]) => text);
}

/** What can be found wrong with a store at its start, as the code words it. */
function refusalTexts(): string[] {
  const folder = "src/storage/leveldb";
  const files = ["open", "checked-open", "create", "verify/audit", "verify/log-walk"]
    .map((name) => `${folder}/${name}.ts`)
    .concat(globSync([`${folder}/folder/*.ts`, `${folder}/files/*.ts`]));
  const before = [
    String.raw`(?:StoreRefused|super)\(folder, \[`,
    String.raw`(?:findings|passing|lost)\.push\(|\bfound\(|unservable\(\[`,
    String.raw`\byield |\b(?:torn|finding) = |\breturn \(`,
  ].join("|");
  const where = "write-ahead log … is corrupted at byte …";
  const found = files.flatMap((path) => textsIn(path, before));
  return [...new Set(found.map((text) => text.replace(/^…(?=: (durable|a newer))/, where)))];
}

/** In an order of their own, so that two lists can be compared. */
const sorted = (items: readonly unknown[]): string[] => items.map(String).toSorted();

const firstTwo = (rows: readonly string[][]): string[][] => rows.map((row) => row.slice(0, 2));

describe("the tables of the documents", () => {
  test("errors.md lists every reason of the contract with its status code", () => {
    const reasons = Object.keys(ErrorReason).filter((name) => !/^\d+$|^UNSPECIFIED$/.test(name));
    const proto = read("proto/annals/v1/errors.proto");
    const documented = rowsBelow("docs/errors.md", "Reasons");
    expect(sorted(documented.map(([reason]) => reason))).toEqual(sorted(reasons));
    for (const [reason, code] of documented) {
      const comment = new RegExp(`((?: *//.*\n)+) *ERROR_REASON_${reason} = `).exec(proto)?.[1];
      expect(comment, `${reason} in errors.proto`).toMatch(new RegExp(`^ *// ${code}\\b`));
    }
  });

  test("errors.md says of each reason what the SDK and the commands go by", () => {
    const documented = rowsBelow("docs/errors.md", "Reasons");
    const stored = Object.fromEntries(documented.map(([reason, , , cell]) => [reason, cell]));
    const expected = documented.map(([reason = ""]) => {
      const { mayHaveBeenStored } = outlooks[reason as keyof typeof outlooks];
      return [reason, mayHaveBeenStored ? "**maybe**" : "no"];
    });
    expect(stored).toEqual(Object.fromEntries(expected));
  });

  test("the failures of the domain are reasons of the contract", () => {
    const failures = read("src/domain/errors.ts").matchAll(/readonly reason: "(\w+)"/g);
    const names = [...failures].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => !(String(name) in ErrorReason))).toEqual([]);
  });

  test("errors.md lists every error class of the TypeScript SDK with its code", () => {
    const source = read("src/client/store/errors.ts");
    const classes = source.matchAll(
      /class (\w+) extends AnnalsError \{\s*readonly code = "(\w+)"/g,
    );
    const expected = [...classes].map(([, name, code]) => [code, name]);
    const documented = firstTwo(rowsBelow("docs/errors.md", "Error codes of the TypeScript SDK"));
    expect(sorted(documented)).toEqual(sorted(expected));
    const inSdkPage = read("docs/clients/typescript-sdk.md");
    expect(expected.filter(([code]) => !inSdkPage.includes(`\`${code}\``))).toEqual([]);
  });

  test("configuration.md lists every option with its variable and default", () => {
    const expected = optionNames.map((name) => {
      const { initial } = options[name];
      return [`--${flagOf(name)}`, variableOf(name), String(initial)];
    });
    const documented = rowsBelow("docs/configuration.md", "Options").map(
      ([flag = "", variable, initial = ""]) => [
        flag.split(" ")[0],
        variable,
        initial.split(" ")[0]?.replaceAll("`", ""),
      ],
    );
    expect(sorted(documented)).toEqual(sorted(expected));
  });

  test("command-line.md lists every command and exit code", () => {
    const commands = rowsBelow("docs/command-line.md", "Commands").map(([name]) => name);
    expect(commands).toEqual(commandHelp.map(({ name }) => name));
    const codes = rowsBelow("docs/command-line.md", "Exit codes").map(([code]) => Number(code));
    expect(codes).toEqual(expect.arrayContaining(Object.values(exitCode)));
  });

  test("the commands that help explains are the commands there are", () => {
    const table =
      /^const commands: [^{]*\{\n([\s\S]*?)^\};/m.exec(read("src/cli/run.ts"))?.[1] ?? "";
    const names = [...table.matchAll(/^ {2}(\w+)[,:]/gm)].map(([, name]) => name);
    const explained = commandHelp.map(({ name }) => name);
    expect(sorted(["serve", ...names])).toEqual(sorted(explained));
  });

  test("operations.md has a remedy for each finding and each reason of a refused start", () => {
    const refused = refusalTexts();
    expect(refused.length).toBeGreaterThan(35);
    const findings = rowsUnder("docs/operations.md", "The store").map(([text]) => text);
    expect(sorted(findings)).toEqual(sorted(refused));
    const reasons = textsIn("src/cli/server/start-failure.ts", "")
      .map((text) => text.replace(/^…: /, ""))
      .filter((text) => /^(another|this|cannot) \w/.test(text));
    expect(reasons.length).toBeGreaterThan(5);
    const known = rowsUnder("docs/operations.md", "The address and the files").map(
      ([text]) => text,
    );
    expect(reasons.filter((text) => !known.some((each) => text.startsWith(each ?? "-")))).toEqual(
      [],
    );
  });

  test("performance.md is what the benchmark writes", () => {
    const rows = JSON.parse(read("bench/results.json")) as ResultRow[];
    const commentary = read("bench/commentary.md");
    const chartOf = (workload: string): string => `performance/${workload}.svg`;
    expect(read("docs/performance.md")).toBe(performanceDocument({ rows, commentary, chartOf }));
  });
});

describe("what the documents name exists", () => {
  test.each(pages)("the paths that $path names exist", ({ text }) => {
    const folders = "src|test|bench|proto|docs|examples|deploy|scripts|evidence|third_party";
    const named = text.matchAll(new RegExp(`(?<![\\w/.-])((?:${folders})/[\\w./*-]*[\\w*])`, "g"));
    const paths = [...new Set([...named].map(([, path = ""]) => path))];
    expect(paths.filter((path) => globSync(path).length === 0)).toEqual([]);
  });

  test.each(pages)("the links of $path lead to files and headings", ({ path, text }) => {
    const links = [...text.matchAll(/\]\((?!\w+:)([^)#]*)(?:#([^)]+))?\)/g)];
    const broken = links.filter(([, file = "", anchor]) => {
      const target = file === "" ? path : normalize(join(dirname(path), file));
      if (!existsSync(target)) return true;
      return anchor !== undefined && !anchorsOf(read(target)).includes(anchor);
    });
    // The benchmark writes its commentary into docs/, where its links begin.
    expect(path.startsWith("bench/") ? [] : broken.map(([link]) => link)).toEqual([]);
  });

  test.each(pages)("the npm scripts that $path names exist", ({ text }) => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = [...text.matchAll(/npm run (?:-s |--silent )?([\w:-]+)/g)].map(
      ([, name]) => name,
    );
    expect(named.filter((name) => name === undefined || !(name in scripts))).toEqual([]);
  });

  test("the index links to every page of docs", () => {
    const index = read("docs/README.md");
    const others = globSync("docs/**/*.md").filter((path) => path !== "docs/README.md");
    expect(others.filter((path) => !index.includes(`(${path.slice("docs/".length)})`))).toEqual([]);
  });

  test("ARCHITECTURE.md draws every folder of src, and no other", () => {
    const [, tree = ""] = /```\nproto[^\n]*\n([^`]*)```/.exec(read("ARCHITECTURE.md")) ?? [];
    const above: string[] = [];
    const drawn = tree.split("\n").flatMap((line) => {
      const [, indent = "", names = ""] = /^( *)((?:[\w-]+\/ ?)+)/.exec(line) ?? [];
      if (names === "") return [];
      above.length = indent.length / 2;
      const paths = names.trim().split(" ");
      const found = paths.map((name) => `${above.join("")}${name}`);
      above.push(paths[0] ?? "");
      return found;
    });
    const folders = globSync("src/**/", { exclude: ["src/gen/**"] }).map((path) =>
      path.endsWith("/") ? path : `${path}/`,
    );
    const expected = folders.filter((path) => existsSync(path) && path !== "src/gen/");
    expect(sorted(drawn.filter((path) => path !== "src/gen/"))).toEqual(sorted(expected));
  });
});

describe("the documents keep their form", () => {
  test("the README and ARCHITECTURE.md are short", () => {
    expect(read("README.md").split("\n").length).toBeLessThanOrEqual(201);
    expect(read("ARCHITECTURE.md").split("\n").length).toBeLessThanOrEqual(320);
  });

  test("the glossary has at most 25 words, in order", () => {
    const words = rowsBelow("docs/model.md", "Glossary").map(([word = ""]) => word);
    expect(words.length).toBeLessThanOrEqual(25);
    expect(words).toEqual(words.toSorted());
  });

  test.each(pages)("the commands of $path can be copied: no block has a prompt", ({ text }) => {
    const blocks = [...text.matchAll(/^```(?:sh)?\n([\s\S]*?)^```$/gm)].map(
      ([, code = ""]) => code,
    );
    expect(blocks.filter((code) => /^\$ /m.test(code))).toEqual([]);
  });
});

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}
