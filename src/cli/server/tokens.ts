// `annals tokens`: creates, lists and revokes the tokens of a server, in its tokens file. The
// server reads the file again by itself.

import { readFileSync } from "node:fs";
import { parseAccessFile, noAccessFile, plainName } from "../../access/access-file.ts";
import { FileFaults } from "../../access/json-lines.ts";
import {
  createToken,
  readTokenFile,
  revokeTokens,
  type TokenEntry,
} from "../../access/token-file.ts";
import { jsonLine } from "../output/display.ts";
import { CommandError, jsonOption, parse, UsageError } from "../arguments/options.ts";
import { rowLines } from "../output/form.ts";
import { tableOn } from "../output/table.ts";
import { print, say, type Terminal } from "../output/terminal.ts";
import { ageMs } from "../arguments/time.ts";

const expiresMaxMs = 36_525 * 86_400_000;

const options = { ...jsonOption, "tokens-file": { type: "string" } } as const;

type Verb = (args: readonly string[], terminal: Terminal) => Promise<number>;
const verbs = new Map<string, Verb>(Object.entries({ create, list, revoke }));

/** The first argument is the verb. Without arguments the command lists. */
export async function tokens(args: readonly string[], terminal: Terminal): Promise<number> {
  const [first = "list", ...rest] = args;
  const verb = first.startsWith("-") ? list : verbs.get(first);
  if (verb === undefined) {
    throw new UsageError(`"${first}" is not one of ${[...verbs.keys()].join(", ")}`);
  }
  try {
    return await verb(first.startsWith("-") ? args : rest, terminal);
  } catch (error) {
    if (!(error instanceof FileFaults)) throw error;
    throw new CommandError(error.message, { cause: error });
  }
}

async function create(args: readonly string[], terminal: Terminal): Promise<number> {
  const known = {
    ...options,
    role: { type: "string", multiple: true },
    expires: { type: "string" },
    "access-file": { type: "string" },
  } as const;
  const { values, positionals } = parse(args, known, { min: 1, max: 1 });
  const [name = ""] = positionals;
  if (!plainName.test(name)) {
    throw new UsageError(`"${name}" is no name: use letters, digits, and _ . @ -, at most 128`);
  }
  const { role: roles = [], expires } = values;
  const file = fileOf(values["tokens-file"], terminal);
  const accessFile = values["access-file"] ?? terminal.environment["ANNALS_ACCESS_FILE"];
  const warning = checkRoles(name, roles, accessFile);
  const nowMs = Date.now();
  const lastsMs = expires === undefined ? Infinity : ageMs(expires, "--expires");
  if (lastsMs > expiresMaxMs && expires !== undefined) {
    throw new UsageError(`--expires: "${expires}" is more than 100 years; without it: never`);
  }
  const wish = { name, roles, nowMs, expiresMs: nowMs + lastsMs };
  const { entry, text } = await createToken(file, wish);
  if (warning !== "") await say(terminal.errors, `warning: ${warning}`);
  if (values.json === true) {
    await print(terminal.output, jsonLine({ ...shown(entry, nowMs), token: text }));
    return 0;
  }
  await print(terminal.errors, `token ${entry.id} of ${name}; it is not shown again:\n`);
  await print(terminal.output, `${text}\n`);
  return 0;
}

/** Throws where a role cannot be one; answers a warning where that is not known. */
function checkRoles(name: string, roles: readonly string[], file: string | undefined): string {
  const { roles: known, principals } =
    file === undefined ? noAccessFile : parseAccessFile(readFileSync(file, "utf8"), file);
  const unknown = roles.filter((role) => !known.has(role));
  if (file === undefined && unknown.length > 0) {
    return `the server's access file must define the role ${unknown.join(", ")}`;
  }
  if (unknown.length > 0) throw new CommandError(`${file}: there is no role ${unknown.join(", ")}`);
  const hasRoles = roles.length > 0 || (principals.get(name)?.roles.length ?? 0) > 0;
  return hasRoles ? "" : `${name} may do nothing until the access file gives it a role`;
}

async function list(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values } = parse(args, options, { min: 0, max: 0 });
  const nowMs = Date.now();
  const entries = [...(await readTokenFile(fileOf(values["tokens-file"], terminal))).values()];
  const rows = entries.map((entry) => shown(entry, nowMs));
  if (values.json === true) {
    const lines = rowLines(terminal);
    await print(terminal.output, lines.some(rows.map(jsonLine)) + lines.end);
    return 0;
  }
  const table = tableOn(
    terminal.output,
    terminal,
    ["ID", "NAME", "ROLES", "STATE", "CREATED", "EXPIRES"].map((title) => ({
      title,
      side: "left",
    })),
  );
  const cells = rows.map(({ id, name, roles, state, created, expires = "never" }) => [
    id,
    name,
    roles.join(" "),
    state,
    created,
    expires,
  ]);
  await print(terminal.output, table(cells));
  return 0;
}

async function revoke(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 1, max: 1 });
  const [idOrName = ""] = positionals;
  const nowMs = Date.now();
  const file = fileOf(values["tokens-file"], terminal);
  const { found, revoked } = await revokeTokens(file, idOrName, nowMs);
  if (found === 0) throw new CommandError(`${file}: there is no token ${idOrName}`);
  const ids = revoked.map(({ id }) => id);
  const text = ids.length === 0 ? "was revoked before" : `revoked: ${ids.join(" ")}`;
  const line = values.json === true ? JSON.stringify({ revoked: ids }) : text;
  await print(terminal.output, `${line}\n`);
  return 0;
}

/** Without the hash. */
function shown(entry: TokenEntry, nowMs: number) {
  const { id, name, roles, createdMs, expiresMs, revokedMs } = entry;
  const state = revokedMs !== undefined ? "revoked" : expiresMs <= nowMs ? "expired" : "valid";
  const time = (ms: number): string => new Date(ms).toISOString();
  const expires = expiresMs === Infinity ? {} : { expires: time(expiresMs) };
  return { id, name, roles, state, created: time(createdMs), ...expires };
}

function fileOf(option: string | undefined, { environment }: Terminal): string {
  const file = option ?? environment["ANNALS_TOKENS_FILE"];
  if (file === undefined || file === "") {
    throw new UsageError("which file? give --tokens-file, or set ANNALS_TOKENS_FILE");
  }
  return file;
}
