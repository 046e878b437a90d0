// What a principal may do, and whether that covers what a request needs. Pure: no clock, no I/O. A
// request is either allowed as a whole or refused with the first grant that is missing. Nothing is
// ever filtered: a condition or a read that does not see everything it asks about would lie.

import { AnnalsError } from "../domain/errors.ts";

/**
 * `read` events, states and snapshots; `append` events and save snapshots; `consume` through groups
 * and checkpoints; `manage` lifecycles, definitions of groups and the deletion of snapshots;
 * `observe` the metrics; `admin`: each of these, and the audit trail.
 */
export const permissions = ["read", "append", "consume", "manage", "observe", "admin"] as const;
export type Permission = (typeof permissions)[number];

/** Names that begin with one of these prefixes: of streams, consumers and groups. */
export type Scope = "everything" | readonly string[];

export type Grants = Readonly<Partial<Record<Permission, Scope>>>;

/** What a request touches. */
export type Extent =
  | { readonly kind: "everything" }
  | { readonly kind: "name"; readonly name: string }
  /** Every name that begins so. */
  | { readonly kind: "prefix"; readonly prefix: string };

/** One of these permissions, for the whole extent. */
export interface Need {
  readonly anyOf: readonly [Permission, ...Permission[]];
  readonly extent: Extent;
}

export const everything: Extent = Object.freeze({ kind: "everything" });

/** The permissions of several roles together. */
export function united(all: readonly Grants[]): Grants {
  const together: Partial<Record<Permission, Scope>> = {};
  for (const grants of all) {
    for (const permission of permissions) {
      const scope = grants[permission];
      if (scope === undefined) continue;
      const before = together[permission] ?? [];
      const isAll = scope === "everything" || before === "everything";
      together[permission] = isAll ? "everything" : [...new Set([...before, ...scope])];
    }
  }
  return together;
}

/** The first need that the grants do not cover. Undefined: they cover all. */
export function missing(grants: Grants, needs: readonly Need[]): Need | undefined {
  if (grants.admin === "everything") return undefined;
  return needs.find((need) => !covers(grants, need));
}

function covers(grants: Grants, { anyOf, extent }: Need): boolean {
  if (holds(grants.admin, extent)) return true;
  return anyOf.some((permission) => holds(grants[permission], extent));
}

function holds(scope: Scope | undefined, extent: Extent): boolean {
  if (scope === undefined) return false;
  if (scope === "everything") return true;
  switch (extent.kind) {
    case "everything":
      return false;
    case "name":
      return scope.some((prefix) => extent.name.startsWith(prefix));
    case "prefix":
      return scope.some((prefix) => extent.prefix.startsWith(prefix));
  }
}

/** PERMISSION_DENIED that says what is missing. */
export function permissionDenied(principal: string, { anyOf, extent }: Need): AnnalsError {
  const permission = anyOf.join(" or ");
  const [scope, words] = extentTexts(extent);
  const message = `principal ${JSON.stringify(principal)} lacks ${permission} for ${words}`;
  const failure = { reason: "PERMISSION_DENIED", principal, permission, scope } as const;
  return new AnnalsError(failure, message);
}

/** As in an access file, and for people. */
function extentTexts(extent: Extent): [scope: string, words: string] {
  switch (extent.kind) {
    case "everything":
      return ["*", "everything"];
    case "name":
      return [extent.name, JSON.stringify(extent.name)];
    case "prefix":
      return [extent.prefix, `names that begin with ${JSON.stringify(extent.prefix)}`];
  }
}
