// Turns the history of a git repository into events, one per line, oldest first: real data to try
// an event store with. Each author is a stream, each commit an event, and the folders that it
// touched are tags. The ids are derived from the commits, so that a second import stores nothing.
//
//   npx node examples/git-history.ts [REPOSITORY] > history.ndjson
//   annals import history.ndjson

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { nameId, namespaceOf } from "../src/cli/import/name-id.ts";

/** Every field ends with NUL, and an empty field precedes each commit. */
const format = "tformat:%x00%H%x00%P%x00%an%x00%ae%x00%aI%x00%cI%x00%B%x00";
const fieldCount = 8;
const tagsMax = 60;
const tagBytesMax = 256;
const pathsMax = 200;
const namespace = namespaceOf("git-history");

interface Commit {
  readonly hash: string;
  readonly parents: readonly string[];
  readonly author: { readonly name: string; readonly email: string };
  readonly authoredAt: string;
  readonly committedAt: string;
  readonly message: string;
  readonly paths: string[];
}

/** The NUL-terminated parts of a byte stream. */
async function* terminated(input: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = Buffer.alloc(0);
  for await (const chunk of input) {
    const bytes = Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, start)) {
      yield bytes.toString("utf8", start, end);
      start = end + 1;
    }
    rest = bytes.subarray(start);
  }
}

async function* commits(input: AsyncIterable<Buffer>): AsyncGenerator<Commit> {
  let commit: Commit | undefined;
  let fields: string[] | undefined;
  for await (const piece of terminated(input)) {
    if (fields !== undefined && fields.length < fieldCount) fields.push(piece);
    else if (piece !== "") commit?.paths.push(piece.replace(/^\n/, ""));
    else {
      if (commit !== undefined) yield commit;
      fields = [];
      commit = undefined;
    }
    if (fields?.length === fieldCount && commit === undefined) commit = commitOf(fields);
  }
  if (commit !== undefined) yield commit;
}

function commitOf(fields: readonly string[]): Commit {
  const [hash = "", parents = "", name = "", email = "", authored = "", committed = ""] = fields;
  return {
    hash,
    parents: parents === "" ? [] : parents.split(" "),
    author: { name, email },
    authoredAt: authored,
    committedAt: committed,
    message: fields[6] ?? "",
    paths: [],
  };
}

function lineOf(commit: Commit): string {
  const { hash, paths, ...rest } = commit;
  const author = createHash("sha256").update(commit.author.email.toLowerCase()).digest("hex");
  const json = { hash, ...rest, pathCount: paths.length, paths: paths.slice(0, pathsMax) };
  return `${JSON.stringify({
    id: nameId(namespace, hash),
    stream: `author-${author.slice(0, 16)}`,
    type: commit.parents.length > 1 ? "BranchesMerged" : "CommitRecorded",
    tags: foldersOf(paths),
    metadata: { commit: hash },
    json,
  })}\n`;
}

function foldersOf(paths: readonly string[]): string[] {
  const folders = paths.map((path) =>
    path.includes("/") ? path.slice(0, path.indexOf("/")) : ".",
  );
  const tags = [...new Set(folders)].map((folder) => `folder:${folder}`);
  // Names with control characters cannot be tags.
  const usable = tags.filter(
    (tag) => Buffer.byteLength(tag) <= tagBytesMax && !/\p{Cc}/u.test(tag),
  );
  return usable.slice(0, tagsMax);
}

const [repository = "."] = process.argv.slice(2);
const options = ["--reverse", "--topo-order", "--name-only", "--no-renames", "-z"];
const git = spawn("git", ["-C", repository, "log", ...options, `--format=${format}`], {
  stdio: ["ignore", "pipe", "inherit"],
});
const ended = once(git, "close");
// Nothing reads the output any more, as after `head`.
process.stdout.on("error", () => process.exit(141));
for await (const commit of commits(git.stdout)) {
  if (!process.stdout.write(lineOf(commit))) await once(process.stdout, "drain");
}
const [code] = (await ended) as [number | null];
process.exitCode = code ?? 1;
