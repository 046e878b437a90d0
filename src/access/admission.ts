// A call that was admitted: who makes it, what it may touch, and when it has to end.

import { AnnalsError } from "../domain/errors.ts";
import { addressOf } from "./attempts.ts";
import type { AuditFacts, AuditTrail } from "./audit.ts";
import type { Credentials } from "./authenticator.ts";
import { missing, permissionDenied, type Need } from "./grants.ts";
import { identify, type Directory, type Principal, type Proof } from "./principal.ts";
import type { Requirement } from "./requirements.ts";

/** A call, as access control sees it. */
export interface Visitor extends Credentials {
  /** The same object for every call of a connection. */
  readonly connection: object;
  /** `annals.v1.EventStoreService/Append`. */
  readonly methodName: string;
  /** Whether the call may last long, so that a revocation has to end it. */
  readonly isStream: boolean;
  /** Ends the call with this error. */
  revoke(error: AnnalsError): void;
}

/** The caller of a connection, until the credential has to be verified again. */
export interface KnownCaller {
  readonly authorization: string | undefined;
  readonly proof: Proof;
  readonly principal: Principal;
  readonly generation: number;
  readonly untilMs: number;
}

/** A call that was admitted, until it leaves. */
export class Admission {
  /** Resolves when the caller is known. Undefined: it is known. Rejects with an AnnalsError. */
  readonly ready: Promise<void> | undefined;
  private readonly visitor: Visitor;
  private readonly requirement: Requirement;
  private readonly calls: OpenCalls;
  /** The call may last, so it is among the open ones. */
  private readonly isLong: boolean;
  private hasLeft = false;
  private wasDenied = false;
  private known: KnownCaller | undefined;
  /** What the last request needed, to judge it again when the files change. */
  private needs: readonly Need[] = [];

  constructor(
    visitor: Visitor,
    requirement: Requirement,
    known: KnownCaller | Promise<KnownCaller> | undefined,
    calls: OpenCalls,
  ) {
    this.visitor = visitor;
    this.requirement = requirement;
    this.calls = calls;
    this.isLong = visitor.isStream || requirement.isLong === true;
    if (known !== undefined && this.isLong) calls.open.add(this);
    if (known instanceof Promise) this.ready = this.settle(known);
    else this.known = known;
  }

  /** The name of the principal. Empty: the method is open to everybody. */
  get principal(): string {
    return this.known?.principal.name ?? "";
  }

  /** What was proven of the caller. Undefined: the method is open to everybody. */
  get proof(): Proof | undefined {
    return this.known?.proof;
  }

  /** Throws PERMISSION_DENIED where the request touches more than the principal may. */
  permit(request: unknown): void {
    if (this.requirement.needs !== undefined) this.require(this.requirement.needs(request));
  }

  /** Like `permit`, for requirements that only the handler knows. */
  require(needs: readonly Need[]): void {
    if (this.requirement.isOpen || needs.length === 0) return;
    if (this.known === undefined) throw new Error("judged before it was known who calls");
    const { name, grants } = this.known.principal;
    const lacking = missing(grants, needs);
    this.needs = needs;
    if (lacking === undefined) return;
    this.wasDenied = true;
    const denied = permissionDenied(name, lacking);
    this.calls.denied(this.visitor, denied);
    throw denied;
  }

  /** The call is over. */
  leave(outcome: "done" | "failed" | "cancelled"): void {
    if (this.isLong) this.calls.open.delete(this);
    const isAudited = this.requirement.isAudited === true && !this.wasDenied;
    // A request that was never judged, such as a malformed one, is no act of management.
    const [first] = this.needs;
    if (!isAudited || first === undefined || this.known === undefined || this.hasLeft) return;
    this.hasLeft = true;
    const subject = first.extent.kind === "name" ? first.extent.name : "";
    const { methodName: method, peer } = this.visitor;
    this.calls.audit.managed({ principal: this.principal, peer, method, subject, outcome });
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
      this.calls.open.delete(this);
      if (!(error instanceof AnnalsError)) throw error;
      this.visitor.revoke(error);
    }
  }

  endsBy(nowMs: number): boolean {
    return this.known !== undefined && this.known.principal.endsMs <= nowMs;
  }

  private async settle(known: Promise<KnownCaller>): Promise<void> {
    try {
      this.known = await known;
    } catch (error) {
      this.calls.denied(this.visitor, error);
      throw error;
    }
  }
}

/** The calls that are open, and the trail of those that were denied. */
export class OpenCalls {
  readonly open = new Set<Admission>();
  readonly audit: AuditTrail;

  constructor(audit: AuditTrail) {
    this.audit = audit;
  }

  denied({ peer, methodName: method }: Visitor, error: unknown): void {
    if (!(error instanceof AnnalsError)) return;
    this.audit.denied({ peer: addressOf(peer), method, ...error.failure } as AuditFacts);
  }
}
