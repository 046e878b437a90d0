// Commands and code that ask the server for what a page shows. Names from events are quoted for the
// shell or the language, and characters that cannot be seen are written as escapes of JSON.

import type { ShownEvent } from "./events.ts";
import { parametersOf, queryOf, type Filter } from "./selection.ts";
import type { Snippet } from "../parts/copy.tsx";
import { hasToken } from "../wire/token.ts";
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

/** The token itself is in no text that is copied. */
function credential(): string {
  return hasToken() ? `-H "authorization: Bearer $ANNALS_TOKEN" ` : "";
}

function grpcurl(method: string, request: object): Snippet {
  const { host, protocol } = location;
  const plain = protocol === "https:" ? "" : "-plaintext ";
  const data = shellQuoted(safeJson(request));
  const text = `grpcurl ${plain}${credential()}-d ${data} \\\n  ${host} ${store}/${method}`;
  return { name: "grpcurl", text };
}

/** Of a method with one answer. */
function wireSnippets(method: string, request: object): Snippet[] {
  const url = `${location.origin}/${store}/${method}`;
  const data = shellQuoted(safeJson(request));
  const text = `curl -s ${credential()}--json ${data} \\\n  ${url}`;
  return [grpcurl(method, request), { name: "curl", text }];
}

/** `Read` answers with a stream of envelopes, which curl cannot make: it gets the events as CloudEvents. */
function readSnippets(request: object, parameters: readonly (readonly [string, string])[]) {
  const query = new URLSearchParams(parameters.map(([name, value]) => [name, value]));
  const url = `${location.origin}/v1/events?${query.toString()}`;
  const text = `curl -s ${credential()}${shellQuoted(url)}`;
  return [grpcurl("Read", request), { name: "curl", text }];
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

function subscribed(items: readonly object[]): string {
  const selection = items.length === 0 ? "" : safeJson({ query: items });
  return connected([
    `for await (const event of client.subscribe(${selection})) {`,
    "  console.log(event.position, event.type, event.data);",
    "}",
  ]);
}

export function streamSnippets(stream: string): Snippet[] {
  return [
    command(["read", ...(stream.startsWith("-") ? ["--", stream] : [stream])]),
    ...readSnippets({ stream, view: "VIEW_JSON" }, [["stream", stream]]),
    { name: "TypeScript", text: looped(safeJson({ stream })) },
  ];
}

export function eventSnippets({ id, position, stream }: ShownEvent): Snippet[] {
  // System events are found in their streams only.
  const place = stream.startsWith("$") ? { stream } : {};
  return [
    command(["event", id, ...(place.stream === undefined ? [] : ["--stream", stream])]),
    ...wireSnippets("GetEvent", { id, ...place, view: "VIEW_JSON" }),
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

export function filterSnippets(filter: Filter): Snippet[] {
  const { types, tags, prefixes } = filter;
  const query = queryOf(filter);
  const words = [
    ...types.flatMap((value) => ["--type", value]),
    ...tags.flatMap((value) => ["--tag", value]),
    ...prefixes.flatMap((value) => ["--prefix", value]),
  ];
  const request = query === undefined ? {} : { query };
  return [
    command(["tail", "-f", ...words]),
    ...readSnippets({ ...request, limit: "100" }, [...parametersOf(filter), ["limit", "100"]]),
    { name: "TypeScript", text: subscribed(query?.items ?? []) },
  ];
}
