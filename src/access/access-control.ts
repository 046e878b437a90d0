// Access control of a server: admits calls, judges their requests, and ends what is open when a
// credential expires, is revoked or loses a grant. The files are looked at twice a second; a file
// that cannot be read leaves the one in force, and that is reported.

import { readFile, stat } from "node:fs/promises";
import { AnnalsError } from "../domain/errors.ts";
import { noAccessFile, parseAccessFile, type AccessFile } from "./access-file.ts";
import { Authenticator, type Credentials, type VerifyAccessToken } from "./authenticator.ts";
import { missing, permissionDenied, type Need } from "./grants.ts";
import { identify, type Directory, type Principal, type Proof } from "./principal.ts";
import type { Requirement } from "./requirements.ts";
import { parseTokenFile, type Tokens } from "./token-file.ts";

export interface AccessFiles {
  /** Undefined: there are built-in roles only. */
  readonly accessFile: string | undefined;
  /** Undefined: there are no tokens. */
  readonly tokensFile: string | undefined;
}

/** A call, as access control sees it. */
export interface Visitor extends Credentials {
  /** The same object for every call of a connection. */
  readonly connection: object;
  /** It may last: what is revoked meanwhile ends it. */
  readonly isStream: boolean;
  /** The call must end with this error. */
  revoke(error: AnnalsError): void;
}

export interface AccessWatcher {
  info(message: string, fields: Readonly<Record<string, unknown>>): void;
  error(message: string, fields: Readonly<Record<string, unknown>>): void;
}

const lookMs = 500;

/** Who calls on a connection, until it has to be looked at again. */
interface Known {
  readonly authorization: string | undefined;
  readonly proof: Proof;
  readonly principal: Principal;
  readonly generation: number;
  readonly untilMs: number;
}

/** A proof is asked for again after this time, also on a connection that stays open. */
const knownMs = 300_000;

/** A call that was admitted, until it leaves. */
export class Admission {
  /** Until it is known who calls. Undefined: it is known. Rejects with an AnnalsError. */
  readonly ready: Promise<void> | undefined;
  private readonly visitor: Visitor;
  private readonly requirement: Requirement;
  private readonly open: Set<Admission>;
  private known: Known | undefined;
  /** Those of the last request that had any. */
  private needs: readonly Need[] = [];

  constructor(
    visitor: Visitor,
    requirement: Requirement,
    known: Known | Promise<Known> | undefined,
    open: Set<Admission>,
  ) {
    this.visitor = visitor;
    this.requirement = requirement;
    this.open = open;
    if (known !== undefined && (visitor.isStream || requirement.isLong === true)) open.add(this);
    if (known instanceof Promise) this.ready = this.settle(known);
    else this.known = known;
  }

  /** The name of the principal. Empty: the method is open to everybody. */
  get principal(): string {
    return this.known?.principal.name ?? "";
  }

  /** Throws PERMISSION_DENIED where the request touches more than the principal may. */
  permit(request: unknown): void {
    if (this.requirement.needs !== undefined) this.require(this.requirement.needs(request));
  }

  /** As `permit`, for what only the handler knows. */
  require(needs: readonly Need[]): void {
    if (this.requirement.isOpen || needs.length === 0) return;
    if (this.known === undefined) throw new Error("judged before it was known who calls");
    const { name, grants } = this.known.principal;
    const lacking = missing(grants, needs);
    if (lacking !== undefined) throw permissionDenied(name, lacking);
    this.needs = needs;
  }

  leave(): void {
    this.open.delete(this);
  }

  /** Looks again whether the call may go on, by the files in force. */
  review(directory: Directory, nowMs: number): void {
    const { known } = this;
    if (known === undefined) return;
    try {
      const principal = identify(known.proof, directory, nowMs);
      this.known = { ...known, principal };
      this.require(this.needs);
    } catch (error) {
      this.leave();
      if (!(error instanceof AnnalsError)) throw error;
      this.visitor.revoke(error);
    }
  }

  endsBy(nowMs: number): boolean {
    return this.known !== undefined && this.known.principal.endsMs <= nowMs;
  }

  private async settle(known: Promise<Known>): Promise<void> {
    this.known = await known;
  }
}

export interface AccessParts {
  readonly files: AccessFiles;
  readonly watcher: AccessWatcher;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Makes the verifier of the issuer that the access file names. */
  readonly verifierFor: (access: AccessFile) => VerifyAccessToken | undefined;
}

export class AccessControl {
  private readonly parts: AccessParts;
  private readonly authenticator: Authenticator;
  private readonly connections = new WeakMap<object, Known>();
  private readonly open = new Set<Admission>();
  private readonly timer: NodeJS.Timeout;
  private directory: Directory;
  private verifier: VerifyAccessToken | undefined;
  private generation = 0;
  private seen: Seen;
  private trouble = "";
  private looking: Promise<void> | undefined;

  private constructor(parts: AccessParts, directory: Directory, seen: Seen) {
    this.parts = parts;
    this.directory = directory;
    this.seen = seen;
    this.verifier = parts.verifierFor(directory.access);
    this.authenticator = new Authenticator({
      tokens: () => this.directory.tokens,
      verifyAccessToken: () => this.verifier,
      nowMs: parts.nowMs,
    });
    this.timer = setInterval(() => void this.look(), lookMs).unref();
  }

  /** Throws FileFaults, and the errors of the file system. */
  static async begin(parts: AccessParts): Promise<AccessControl> {
    const seen = await seenOf(parts.files);
    return new AccessControl(parts, await readFiles(parts.files), seen);
  }

  /** Throws UNAUTHENTICATED, or OVERLOADED after too many failed attempts. */
  admit(visitor: Visitor, requirement: Requirement): Admission {
    const known = requirement.isOpen ? undefined : this.who(visitor);
    return new Admission(visitor, requirement, known, this.open);
  }

  /** Looks at the files now, beside the regular looks. */
  look(): Promise<void> {
    this.looking ??= this.lookNow().finally(() => {
      this.looking = undefined;
    });
    return this.looking;
  }

  close(): void {
    clearInterval(this.timer);
  }

  private who(visitor: Visitor): Known | Promise<Known> {
    const { connection, authorization } = visitor;
    const before = this.connections.get(connection);
    if (
      before !== undefined &&
      before.authorization === authorization &&
      before.generation === this.generation &&
      this.parts.nowMs() < before.untilMs
    ) {
      return before;
    }
    const proof = this.authenticator.prove(visitor);
    if (proof instanceof Promise) return proof.then((proven) => this.remember(visitor, proven));
    return this.remember(visitor, proof);
  }

  private remember({ connection, authorization }: Visitor, proof: Proof): Known {
    const { generation } = this;
    const nowMs = this.parts.nowMs();
    const principal = identify(proof, this.directory, nowMs);
    const untilMs = Math.min(principal.endsMs, nowMs + knownMs);
    const known = { authorization, proof, principal, generation, untilMs };
    this.connections.set(connection, known);
    return known;
  }

  private async lookNow(): Promise<void> {
    const { files, watcher, nowMs } = this.parts;
    try {
      const seen = await seenOf(files);
      if (seen.access !== this.seen.access || seen.tokens !== this.seen.tokens) {
        this.directory = await readFiles(files);
        this.verifier = this.parts.verifierFor(this.directory.access);
        this.seen = seen;
        this.generation++;
        this.authenticator.forgetRefused();
        watcher.info("access files were read again", { ...files });
        for (const admission of this.open) admission.review(this.directory, nowMs());
      }
      this.trouble = "";
    } catch (error) {
      if (String(error) !== this.trouble) {
        this.trouble = String(error);
        watcher.error("access files not read again; what was read before is in force", { error });
      }
    }
    const now = nowMs();
    for (const admission of this.open) {
      if (admission.endsBy(now)) admission.review(this.directory, now);
    }
  }
}

/** Changes whenever a file is replaced or written. */
interface Seen {
  readonly access: string;
  readonly tokens: string;
}

async function seenOf({ accessFile, tokensFile }: AccessFiles): Promise<Seen> {
  const mark = async (file: string | undefined): Promise<string> => {
    if (file === undefined) return "";
    const { ino, size, mtimeMs, ctimeMs } = await stat(file);
    return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
  };
  return { access: await mark(accessFile), tokens: await mark(tokensFile) };
}

async function readFiles({ accessFile, tokensFile }: AccessFiles): Promise<Directory> {
  const access =
    accessFile === undefined
      ? noAccessFile
      : parseAccessFile(await readFile(accessFile, "utf8"), accessFile);
  const tokens: Tokens =
    tokensFile === undefined
      ? new Map()
      : parseTokenFile(await readFile(tokensFile, "utf8"), tokensFile);
  return { access, tokens };
}
