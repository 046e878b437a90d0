// Commands and code that ask the server for what a page shows. Names from events are quoted for the
// shell or the language, and characters that cannot be seen are written as escapes of JSON.

import type { Filter } from "./selection.ts";
import type { Snippet } from "../parts/copy.tsx";
import { hidden } from "./visible.ts";

/** For a POSIX shell. A word that needs no quotes gets none. */
function shellQuoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** JSON with escapes for characters that could not be seen. */
function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(hidden, (character) =>
    Array.from({ length: character.length }, (_, at) => {
      return `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`;
    }).join(""),
  );
}

const store = "annals.v1.EventStoreService";

function wireSnippets(method: string, request: object): Snippet[] {
  const { host, origin, protocol } = location;
  const plain = protocol === "https:" ? "" : "-plaintext ";
  const data = shellQuoted(safeJson(request));
  return [
    { name: "grpcurl", text: `grpcurl ${plain}-d ${data} \\\n  ${host} ${store}/${method}` },
    // `Read` answers with a stream of envelopes, which curl cannot make.
    ...(method === "Read"
      ? []
      : [{ name: "curl", text: `curl -s --json ${data} \\\n  ${origin}/${store}/${method}` }]),
  ];
}

function connected(lines: readonly string[]): string {
  const { host } = location;
  return [
    `import { connect } from "annals/client";`,
    "",
    `const client = connect({ address: ${JSON.stringify(host)} });`,
    ...lines,
    "client.close();",
  ].join("\n");
}

function command(words: readonly string[]): Snippet {
  const { host } = location;
  const address = host === "127.0.0.1:7420" ? [] : ["--address", host];
  const text = ["annals", ...words, ...address].map(shellQuoted).join(" ");
  return { name: "annals", text };
}

function looped(read: string): string {
  return connected([
    `for await (const event of client.read(${read})) {`,
    "  console.log(event.position, event.type, event.data);",
    "}",
  ]);
}

export function streamSnippets(stream: string): Snippet[] {
  return [
    command(["read", ...(stream.startsWith("-") ? ["--", stream] : [stream])]),
    ...wireSnippets("Read", { stream, view: "VIEW_JSON" }),
    { name: "TypeScript", text: looped(safeJson({ stream })) },
  ];
}

export function eventSnippets(position: string): Snippet[] {
  const at = { fromPosition: position, toPosition: position };
  const range = ["--from-position", position, "--to-position", position];
  return [
    command(["read", ...range, "--json"]),
    ...wireSnippets("Read", { ...at, view: "VIEW_JSON" }),
    {
      name: "TypeScript",
      text: looped(`{ from: { position: ${position} }, to: { position: ${position} } }`),
    },
  ];
}

export function stateSnippets(stream: string, version: string): Snippet[] {
  return [
    command(["state", stream, "--version", version]),
    ...wireSnippets("GetState", { stream, version }),
  ];
}

export function filterSnippets(filter: Filter, query: object | undefined): Snippet[] {
  const { types, tags, prefixes } = filter;
  const words = [
    ...types.flatMap((value) => ["--type", value]),
    ...tags.flatMap((value) => ["--tag", value]),
    ...prefixes.flatMap((value) => ["--prefix", value]),
  ];
  const request = query === undefined ? {} : { query };
  return [command(["tail", "-f", ...words]), ...wireSnippets("Read", { ...request, limit: "100" })];
}
