// The pages for people: their commands are the ones this suite runs, and their links lead
// somewhere.

import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { repository } from "./live-server.ts";
import { grpcurl, languages } from "./toolchains.ts";

const pages = [
  ...globSync("docs/clients/*.md", { cwd: repository }),
  "examples/sidecar/README.md",
].map((path) => [path, readFileSync(join(repository, path), "utf8")] as const);

describe("the pages about clients", () => {
  test.each(languages)("the page for $name says how it is built here", ({ name, build }) => {
    const page = pages.find(([path]) => path.endsWith(`/${name}.md`))?.[1];
    for (const command of build) expect(page?.split("\n")).toContain(command.join(" "));
  });

  test("the page for grpcurl says how grpcurl is built here", () => {
    const page = pages.find(([path]) => path.endsWith("/grpcurl.md"))?.[1];
    for (const command of grpcurl.build) expect(page?.split("\n")).toContain(command.join(" "));
  });

  test.each(pages)("the links of %s lead somewhere", (path, text) => {
    const links = [...text.matchAll(/\]\((?!http)([^)#]+)/g)].map(([, link = ""]) => link);
    const here = join(repository, dirname(path));
    expect(links.filter((link) => !existsSync(join(here, link)))).toEqual([]);
  });

  test.each(pages)("the lines of %s are at most 120 columns", (_path, text) => {
    const prose = text.split("\n").filter((line) => !line.startsWith("|"));
    expect(prose.filter((line) => line.length > 120)).toEqual([]);
  });
});
