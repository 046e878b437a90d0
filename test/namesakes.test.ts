// One meaning for a name: no two files of src/ export the same one.
import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

/**
 * Things of the contract, of which the server and the SDK each have a form. Every other exported
 * name has one meaning in the whole of src/.
 */
const atBothEnds = new Set(
  [
    "AnnalsError FieldViolation invalidField StreamConflict ConditionConflict EventIdMismatch",
    "NewEvent Appended StreamExpectation Query QueryItem Selection ReadEnd SubscribeStart",
    "Snapshot NewSnapshot StreamInfo listStreams listEventTypes",
    "Checkpoints CheckpointUpdate wireCheckpoint",
    "Groups GroupSettings GroupChanges GroupOrdering GroupStart GroupInfo ParkedEvent wireSettings",
  ].flatMap((names) => names.split(" ")),
);

function exportedNames(text: string): Set<string> {
  const statement =
    /^export (?:abstract )?(?:async )?(?:class|interface|type|function\*?|const) (?<name>\w+)/gm;
  return new Set([...text.matchAll(statement)].map((match) => match.groups?.["name"] ?? ""));
}

/** Names that two files export, so that readers of one may think of the other. */
function namesakes(files: readonly { path: string; text: string }[]): string[] {
  const owners = new Map<string, string>();
  return files.flatMap(({ path, text }) =>
    [...exportedNames(text)].flatMap((name) => {
      const ofClient = path.startsWith("src/client/");
      const key = ofClient && atBothEnds.has(name) ? `client ${name}` : name;
      const owner = owners.get(key);
      owners.set(key, path);
      return owner === undefined ? [] : [`${path}: ${name} is exported by ${owner}, too`];
    }),
  );
}

test("an exported name has one meaning", () => {
  // What is generated has the contract's names, and src/http2 is a library with a context of its
  // own.
  const paths = globSync("src/**/*.ts").filter((path) => !/^src\/(gen|http2)\//.test(path));
  expect(namesakes(paths.map((path) => ({ path, text: readFileSync(path, "utf8") })))).toEqual([]);
});

test("a name that two files export is found, unless it is of both ends of the wire", () => {
  const text = "export class AnnalsError {}\nexport function* pages() {}\nfunction own() {}\n";
  const paths = ["src/domain/a.ts", "src/client/b.ts"];
  expect(namesakes(paths.map((path) => ({ path, text })))).toEqual([
    "src/client/b.ts: pages is exported by src/domain/a.ts, too",
  ]);
});
