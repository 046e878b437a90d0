// Access control of a server: admits calls, judges their requests, and ends what is open when a
// credential expires, is revoked or loses a grant. The files are looked at twice a second; a file
// that cannot be read leaves the one in force, and that is reported.

import { readFile, stat } from "node:fs/promises";
import { noAccessFile, parseAccessFile, type AccessFile } from "./access-file.ts";
import { Admission, OpenCalls, type KnownCaller, type Visitor } from "./admission.ts";
import type { AccessWatcher, AuditTrail } from "./audit.ts";
import { forwardedHeader, type ForwardedProofs } from "./forwarded-proof.ts";
import { Authenticator, type VerifyAccessToken } from "./authenticator.ts";
import { identify, unauthenticated, type Directory, type Proof } from "./principal.ts";
import type { Requirement } from "./requirements.ts";
import { parseTokenFile, type TokenEntry, type Tokens } from "./token-file.ts";

export interface AccessFiles {
  /** Undefined: there are built-in roles only. */
  readonly accessFile: string | undefined;
  /** Undefined: there are no tokens. */
  readonly tokensFile: string | undefined;
}

const lookMs = 500;
/** A proof is asked for again after this time, also on a connection that stays open. */
const knownMs = 300_000;

export interface AccessParts {
  readonly files: AccessFiles;
  readonly audit: AuditTrail;
  readonly watcher: AccessWatcher;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Makes the verifier of the issuer that the access file names. */
  readonly verifierFor: (access: AccessFile) => VerifyAccessToken | undefined;
}

export class AccessControl {
  readonly audit: AuditTrail;
  private readonly parts: AccessParts;
  private readonly authenticator: Authenticator;
  private readonly connections = new WeakMap<object, KnownCaller>();
  /** The caller of the call before: most calls come after another one of their connection. */
  private last: { readonly connection: object; readonly known: KnownCaller } | undefined;
  private readonly calls: OpenCalls;
  private readonly timer: NodeJS.Timeout;
  private directory: Directory;
  private verifier: VerifyAccessToken | undefined;
  private generation = 0;
  private seen: Seen;
  private trouble = "";
  private looking: Promise<void> | undefined;
  /** Undefined: there are no other servers of the store. */
  private proofs: ForwardedProofs | undefined;

  private constructor(parts: AccessParts, directory: Directory, seen: Seen) {
    this.parts = parts;
    this.audit = parts.audit;
    this.calls = new OpenCalls(parts.audit);
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
    try {
      const seen = await seenOf(parts.files);
      return new AccessControl(parts, await readFiles(parts.files), seen);
    } catch (error) {
      await parts.audit.close();
      throw error;
    }
  }

  /** Throws UNAUTHENTICATED, or OVERLOADED after too many failed attempts. */
  admit(visitor: Visitor, requirement: Requirement): Admission {
    try {
      const known = requirement.isOpen ? undefined : this.who(visitor);
      return new Admission(visitor, requirement, known, this.calls);
    } catch (error) {
      this.calls.denied(visitor, error);
      throw error;
    }
  }

  /** From now on, what these say of callers is believed. */
  trust(proofs: ForwardedProofs): void {
    this.proofs = proofs;
  }

  /** Looks at the files now, beside the regular looks. */
  look(): Promise<void> {
    this.looking ??= this.lookNow().finally(() => {
      this.looking = undefined;
    });
    return this.looking;
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.audit.close();
  }

  private who(visitor: Visitor): KnownCaller | Promise<KnownCaller> {
    const { connection, authorization, headers, methodName } = visitor;
    const forwarded = headers?.get(forwardedHeader);
    if (forwarded !== undefined) {
      const proof = this.proofs?.verify(forwarded, methodName);
      if (proof === undefined) throw unauthenticated("invalid");
      return this.known(visitor, proof);
    }
    const isSame = this.last?.connection === connection;
    const before = isSame ? this.last?.known : this.connections.get(connection);
    if (
      before !== undefined &&
      before.authorization === authorization &&
      before.generation === this.generation &&
      this.parts.nowMs() < before.untilMs
    ) {
      if (!isSame) this.last = { connection, known: before };
      return before;
    }
    const proof = this.authenticator.prove(visitor);
    if (proof instanceof Promise) return proof.then((proven) => this.remember(visitor, proven));
    return this.remember(visitor, proof);
  }

  private remember(visitor: Visitor, proof: Proof): KnownCaller {
    const known = this.known(visitor, proof);
    this.connections.set(visitor.connection, known);
    this.last = { connection: visitor.connection, known };
    return known;
  }

  private known({ authorization }: Visitor, proof: Proof): KnownCaller {
    const { generation } = this;
    const nowMs = this.parts.nowMs();
    const principal = identify(proof, this.directory, nowMs);
    const untilMs = Math.min(principal.endsMs, nowMs + knownMs);
    return { authorization, proof, principal, generation, untilMs };
  }

  private async lookNow(): Promise<void> {
    const { files, watcher, nowMs } = this.parts;
    try {
      const seen = await seenOf(files);
      if (seen.access !== this.seen.access || seen.tokens !== this.seen.tokens) {
        const before = this.directory;
        this.directory = await readFiles(files);
        this.tellChanges(before, seen.access !== this.seen.access);
        this.verifier = this.parts.verifierFor(this.directory.access);
        this.seen = seen;
        this.generation++;
        this.authenticator.filesChanged();
        watcher.info("access files were read again", { ...files });
        for (const admission of this.calls.open) admission.review(this.directory, nowMs());
      }
      this.trouble = "";
    } catch (error) {
      if (String(error) !== this.trouble) {
        this.trouble = String(error);
        watcher.error("access files not read again; what was read before is in force", { error });
      }
    }
    const now = nowMs();
    for (const admission of this.calls.open) {
      if (admission.endsBy(now)) admission.review(this.directory, now);
    }
  }

  private tellChanges({ tokens: before }: Directory, hasAccessChanged: boolean): void {
    const { audit } = this;
    const { tokens: after } = this.directory;
    if (hasAccessChanged) audit.accessChanged({ change: "access file" });
    const tell = (change: string, { id, name, roles }: TokenEntry): void =>
      audit.accessChanged({ change, token: id, principal: name, roles });
    for (const token of after.values()) {
      const old = before.get(token.id);
      if (old === undefined) tell("token created", token);
      if (token.revokedMs !== undefined && old?.revokedMs === undefined) {
        tell("token revoked", token);
      }
    }
    for (const token of before.values()) if (!after.has(token.id)) tell("token removed", token);
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
