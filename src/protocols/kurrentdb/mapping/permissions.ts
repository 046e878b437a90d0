// What the requests of this protocol need of the principal that calls: the permissions of the same
// operations of annals.v1. Where nobody is asked who calls, everything is allowed.

import type { Need, Permission } from "../../../access/grants.ts";
import { queryNeeds, readNeed, type Requirement } from "../../../access/requirements.ts";
import { AnnalsError } from "../../../domain/errors.ts";
import type { Call } from "../../../grpc/transport/call-environment.ts";
import { accessDenied } from "./errors.ts";
import { streamTargetOf } from "./names.ts";

export const open: Requirement = { isOpen: true };
/** The handler says what the request needs. */
export const judged: Requirement = { isOpen: false };
export const judgedAndAudited: Requirement = { isOpen: false, isAudited: true };

/** Throws PERMISSION_DENIED as clients expect it. */
export function permit(call: Call, needs: readonly Need[]): void {
  try {
    call.require(needs);
  } catch (error) {
    const isDenied = error instanceof AnnalsError && error.failure.reason === "PERMISSION_DENIED";
    throw isDenied ? accessDenied() : error;
  }
}

function onName(permission: Permission, name: string): Need {
  return { anyOf: [permission], extent: { kind: "name", name } };
}

const readEverything: Need = { anyOf: ["read"], extent: { kind: "everything" } };

export const managesEverything: readonly Need[] = [
  { anyOf: ["manage"], extent: { kind: "everything" } },
];

/** To see figures of the server. */
export const observes: readonly Need[] = [{ anyOf: ["observe"], extent: { kind: "everything" } }];

/**
 * Undefined: all streams. Links that are resolved may point to any event, except those that the
 * server itself makes of what a selection selects.
 */
export function readNeeds(stream: string | undefined, resolvesLinks = false): readonly Need[] {
  if (stream === undefined) return [readEverything];
  const target = streamTargetOf(stream);
  if (target.kind !== "links") {
    return resolvesLinks && target.kind === "stream"
      ? [readEverything, readNeed(target.name)]
      : [readNeed(target.name)];
  }
  const { selection } = target;
  return selection.kind === "query" ? queryNeeds(selection.query.items) : [readEverything];
}

/** To append to a stream, or to change its metadata. */
export function writeNeeds(stream: string): Need[] {
  const target = streamTargetOf(stream);
  return [onName(target.kind === "metadata" ? "manage" : "append", target.name)];
}

export function deleteNeeds(stream: string): Need[] {
  return [onName("manage", stream)];
}

/** To create, change or delete the group of a subscription. */
export function managesGroup(group: string): Need[] {
  return [onName("manage", group)];
}

export function consumesGroup(group: string): Need[] {
  return [onName("consume", group)];
}

/** To see a group, or all of them. */
export function seesGroups(group: string | undefined): Need[] {
  const extent =
    group === undefined ? readEverything.extent : ({ kind: "name", name: group } as const);
  return [{ anyOf: ["consume", "manage"], extent }];
}
