// The access file: which roles there are and what they may do, which principals have which roles,
// and whose certificates and OIDC subjects these are. JSON, checked as a whole: every fault is
// named with its line and path before the server starts.
//
//   {
//     "roles": {
//       "billing": { "read": ["orders-"], "append": ["invoices-"], "consume": ["billing"] },
//       "auditor": { "read": "*" }
//     },
//     "principals": {
//       "billing": { "roles": ["billing"], "certificates": ["DNS:billing.internal"] },
//       "alice": { "roles": ["admin"], "subjects": ["00u1a2b3"] }
//     },
//     "oidc": { "issuer": "https://id.example.com", "audience": "annals" }
//   }

import { isSystemName } from "../domain/event.ts";
import { permissions, type Grants, type Permission, type Scope } from "./grants.ts";
import { FileFaults, parseJsonText, pathText, type JsonText, type Path } from "./json-lines.ts";

export interface PrincipalEntry {
  readonly roles: readonly string[];
}

export interface OidcSettings {
  readonly issuer: string;
  /** The `aud` that access tokens must have. */
  readonly audience: string;
  readonly clockSkewSeconds: number;
  /** The claim with names of roles, for subjects that are no principal. Undefined: none. */
  readonly rolesClaim: string | undefined;
}

export interface AccessFile {
  readonly roles: ReadonlyMap<string, Grants>;
  readonly principals: ReadonlyMap<string, PrincipalEntry>;
  /** Principals by a name in their certificates. */
  readonly certificates: ReadonlyMap<string, string>;
  /** Principals by their OIDC subject. */
  readonly subjects: ReadonlyMap<string, string>;
  readonly oidc: OidcSettings | undefined;
}

const all: Scope = "everything";

/** Roles that need no file. A file cannot give these names another meaning. */
export const builtInRoles: ReadonlyMap<string, Grants> = new Map<string, Grants>([
  ["reader", { read: all }],
  ["writer", { read: all, append: all }],
  ["consumer", { read: all, consume: all }],
  ["service", { read: all, append: all, consume: all }],
  ["observer", { observe: all }],
  ["admin", { read: all, append: all, consume: all, manage: all, observe: all, admin: all }],
]);

/** What there is without a file. */
export const noAccessFile: AccessFile = {
  roles: builtInRoles,
  principals: new Map(),
  certificates: new Map(),
  subjects: new Map(),
  oidc: undefined,
};

/** Names of roles and principals. No colon: `oidc:SUBJECT` is a principal that no file names. */
export const plainName = /^[A-Za-z0-9][A-Za-z0-9_.@-]{0,127}$/;
const nameRule = "is no name: use letters, digits, and _ . @ -, at most 128";

/** A certificate's subject or one of its subject alternative names. */
const certificateName = /^(CN=.+|(DNS|URI|email|IP Address):.+)$/s;
const certificateRule =
  "is no name of a certificate: write CN=NAME, DNS:NAME, URI:NAME or email:NAME";

/** Throws FileFaults with a line for each fault. */
export function parseAccessFile(text: string, file: string): AccessFile {
  const json = parseJsonText(text, file);
  const reader = new Reader(json, file);
  const root = reader.object([], json.value, ["roles", "principals", "oidc"]);
  const roles = new Map(builtInRoles);
  for (const [name, value] of reader.entries(["roles"], root["roles"])) {
    const path = ["roles", name];
    if (builtInRoles.has(name)) reader.fault(path, "is built in and cannot be defined again");
    else roles.set(name, grantsIn(reader, path, value));
  }
  const principals = new Map<string, PrincipalEntry>();
  const certificates = new Map<string, string>();
  const subjects = new Map<string, string>();
  for (const [name, value] of reader.entries(["principals"], root["principals"])) {
    const path = ["principals", name];
    const members = reader.object(path, value, ["roles", "certificates", "subjects"]);
    const own = reader.texts([...path, "roles"], members["roles"] ?? []);
    own.forEach((role, i) => {
      if (!roles.has(role)) reader.fault([...path, "roles", i], `there is no role ${quoted(role)}`);
    });
    principals.set(name, { roles: own });
    const map = (member: string, to: Map<string, string>, rule: RegExp, why: string): void => {
      reader.texts([...path, member], members[member] ?? []).forEach((credential, i) => {
        const owner = to.get(credential);
        const at = [...path, member, i];
        if (!rule.test(credential)) reader.fault(at, why);
        else if (owner !== undefined) reader.fault(at, `is already that of ${quoted(owner)}`);
        else to.set(credential, name);
      });
    };
    map("certificates", certificates, certificateName, certificateRule);
    map("subjects", subjects, /^.+$/s, "is empty");
  }
  const oidc = root["oidc"] === undefined ? undefined : oidcIn(reader, root["oidc"]);
  if (subjects.size > 0 && oidc === undefined) {
    reader.fault(["principals"], '"subjects" need "oidc", which says who issues their tokens');
  }
  reader.throwIfAny();
  return { roles, principals, certificates, subjects, oidc };
}

function grantsIn(reader: Reader, path: Path, value: unknown): Grants {
  const members = reader.object(path, value, permissions);
  const grants: Partial<Record<Permission, Scope>> = {};
  for (const permission of permissions) {
    const scope = members[permission];
    if (scope === undefined) continue;
    const at = [...path, permission];
    if (scope === "*") grants[permission] = "everything";
    else if (permission === "observe") reader.fault(at, 'is not "*": metrics are of the server');
    else if (!Array.isArray(scope)) reader.fault(at, 'is neither "*" nor a list of prefixes');
    else {
      const prefixes = reader.texts(at, scope);
      prefixes.forEach((prefix, i) => {
        if (prefix === "") reader.fault([...at, i], 'is empty: write "*" for everything');
        else if (prefix === "*") reader.fault([...at, i], 'is "*" in a list: write "*" alone');
        else if (isSystemName(prefix)) {
          reader.fault([...at, i], "begins with $: what belongs to a stream follows its own name");
        }
      });
      grants[permission] = prefixes;
    }
  }
  return grants;
}

const clockSkewDefaultSeconds = 30;
const clockSkewMaxSeconds = 600;

function oidcIn(reader: Reader, value: unknown): OidcSettings {
  const path = ["oidc"];
  const known = ["issuer", "audience", "clockSkewSeconds", "rolesClaim"];
  const members = reader.object(path, value, known);
  const issuer = reader.text([...path, "issuer"], members["issuer"]);
  if (issuer !== "" && !isIssuer(issuer)) {
    reader.fault([...path, "issuer"], "is no https URL (http is for the loopback address only)");
  }
  const audience = reader.text([...path, "audience"], members["audience"]);
  const skew = members["clockSkewSeconds"] ?? clockSkewDefaultSeconds;
  const isSkew = typeof skew === "number" && skew >= 0 && skew <= clockSkewMaxSeconds;
  if (!isSkew) {
    reader.fault([...path, "clockSkewSeconds"], `is no number from 0 to ${clockSkewMaxSeconds}`);
  }
  const claim = members["rolesClaim"];
  const rolesClaim = claim === undefined ? undefined : reader.text([...path, "rolesClaim"], claim);
  return { issuer, audience, clockSkewSeconds: isSkew ? skew : 0, rolesClaim };
}

const loopbackHosts = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** An https URL, or an http URL on the loopback address. */
export function isIssuer(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === "https:" || (protocol === "http:" && loopbackHosts.has(hostname));
}

function quoted(name: string): string {
  return JSON.stringify(name);
}

/** Reads members and keeps every fault. A member that is wrong reads as an empty one. */
class Reader {
  private readonly json: JsonText;
  private readonly file: string;
  private readonly faults: string[] = [];

  constructor(json: JsonText, file: string) {
    this.json = json;
    this.file = file;
  }

  fault(path: Path, what: string): void {
    const where = path.length === 0 ? "" : `${pathText(path)}: `;
    this.faults.push(`${this.file}:${this.json.lineOf(path)}: ${where}${what}`);
  }

  throwIfAny(): void {
    if (this.faults.length > 0) throw new FileFaults(this.faults.join("\n"));
  }

  object(path: Path, value: unknown, known: readonly string[]): Readonly<Record<string, unknown>> {
    const members = this.members(path, value);
    for (const name of Object.keys(members)) {
      const what = `is none of ${known.join(", ")}`;
      if (!known.includes(name)) this.fault([...path, name], what);
    }
    return members;
  }

  /** The members of an object whose names are chosen freely. Absent: none. */
  entries(path: Path, value: unknown = {}): [string, unknown][] {
    const entries = Object.entries(this.members(path, value));
    for (const [name] of entries) if (!plainName.test(name)) this.fault([...path, name], nameRule);
    return entries;
  }

  texts(path: Path, value: unknown): readonly string[] {
    if (!Array.isArray(value)) {
      this.fault(path, "is not a list of texts");
      return [];
    }
    const texts: string[] = [];
    value.forEach((entry: unknown, i) => {
      if (typeof entry === "string") texts.push(entry);
      else this.fault([...path, i], "is not a text");
    });
    return texts;
  }

  text(path: Path, value: unknown): string {
    if (typeof value === "string" && value !== "") return value;
    this.fault(path, value === undefined ? "is required" : "is not a text");
    return "";
  }

  private members(path: Path, value: unknown): Record<string, unknown> {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
    this.fault(path, "is not an object");
    return {};
  }
}
