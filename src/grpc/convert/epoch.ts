// Epochs on the wire: 16 hexadecimal digits, or empty where a client does not say in which epoch it
// read. What was read in another history of the store is refused before anything else happens.

import type { DeleteStream } from "../../domain/decide/decide-lifecycle.ts";
import { isEpochId, type Claim, type Epoch } from "../../domain/epoch.ts";
import { epochMismatched, invalidField } from "../../domain/errors.ts";
import { noPolicy, type PolicyChange } from "../../domain/lifecycle/lifecycle.ts";
import type { Selection } from "../../domain/query.ts";
import { EpochCause } from "../../gen/annals/v1/info_pb.js";
import type { Bound, EventLog, ReadRequest, SubscribeRequest } from "../../log/verbs.ts";
import type { Violations } from "./checks.ts";
import { timestamp } from "./time.ts";

const malformed = "is not an epoch: 16 hexadecimal digits in lower case, as this server gave it";

/** Undefined: the client does not say. */
export function checkEpoch(v: Violations, field: string, epoch: string): string | undefined {
  if (epoch === "") return undefined;
  if (!isEpochId(epoch)) v.add(field, malformed);
  return epoch;
}

/** Throws EPOCH_MISMATCH, and INVALID_FIELD if the epoch is malformed. */
export async function requireEpoch(
  log: Pick<EventLog, "epochMismatch">,
  epoch: string,
  claims: readonly Claim[],
  field = "epoch",
): Promise<void> {
  if (epoch === "") return;
  if (!isEpochId(epoch)) throw invalidField(field, malformed);
  const mismatch = await log.epochMismatch({ epoch, claims });
  if (mismatch !== undefined) throw epochMismatched(mismatch);
}

/** A read forwards from a position or version relies on what was read before it. */
export function claimsOfRead({ selection, direction, from, to }: ReadRequest): Claim[] {
  const before = direction === "forwards" ? 1 : 0;
  return [...claimOf("from", selection, from, before), ...claimOf("to", selection, to, 0)];
}

function claimOf(
  prefix: "from" | "to",
  selection: Selection,
  bound: Bound | undefined,
  before: number,
): Claim[] {
  switch (bound?.kind) {
    case "position":
      return [{ field: `${prefix}_position`, position: bound.position - before }];
    case "version": {
      const stream = selection.kind === "stream" ? selection.stream : "";
      return [{ field: `${prefix}_version`, stream, version: bound.version - before }];
    }
    case "time":
    case undefined:
      return [];
  }
}

export function claimsOfSubscribe({ selection, start }: SubscribeRequest): Claim[] {
  switch (start.kind) {
    case "after-position":
      return [{ field: "after_position", position: start.position }];
    case "after-version": {
      const stream = selection.kind === "stream" ? selection.stream : "";
      return [{ field: "after_version", stream, version: start.version }];
    }
    case "from-time":
    case "end":
      return [];
  }
}

/** A change of a stream relies on the version it expects, and on those it truncates. */
export function claimsOfChange(
  { stream, expected }: Pick<DeleteStream, "stream" | "expected">,
  { truncateBefore }: Pick<PolicyChange, "truncateBefore"> = noPolicy,
): Claim[] {
  const claims: Claim[] = [];
  if (expected?.kind === "version") {
    claims.push({ field: "expected_version", stream, version: expected.version });
  }
  const version = truncateBefore - 1;
  if (version > 0) claims.push({ field: "policy.truncate_before", stream, version });
  return claims;
}

/** The field with its tag, encoded once: it is sent with many answers. */
export function epochField(tag: number, epoch: string): Buffer {
  return Buffer.concat([Buffer.from([tag, epoch.length]), Buffer.from(epoch, "latin1")]);
}

const epochCauses = {
  creation: EpochCause.CREATION,
  restore: EpochCause.RESTORE,
  "accepted-loss": EpochCause.ACCEPTED_LOSS,
  salvage: EpochCause.SALVAGE,
  promotion: EpochCause.PROMOTION,
} as const;

/** An epoch as the contract describes it. */
export function epochInfo({ id: epoch, after, beganAt, cause }: Epoch) {
  const begun = { beganAt: timestamp(beganAt), cause: epochCauses[cause] };
  return { epoch, afterPosition: BigInt(after), ...begun };
}
