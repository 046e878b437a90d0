// What groups refuse.

import { AnnalsError } from "../../domain/errors.ts";

export function groupExists(name: string): AnnalsError {
  const message = `there is a group ${JSON.stringify(name)} with other settings`;
  return new AnnalsError({ reason: "GROUP_EXISTS", group: name }, message);
}

/** The group was replaced by one of the same name. */
export function groupReplaced(name: string): AnnalsError {
  const message = `group ${JSON.stringify(name)} was replaced; join again`;
  return new AnnalsError({ reason: "RECOVERING" }, message);
}

export function groupNotFound(name: string): AnnalsError {
  const message = `there is no group ${JSON.stringify(name)}`;
  return new AnnalsError({ reason: "GROUP_NOT_FOUND", group: name }, message);
}

export function groupsStopping(): AnnalsError {
  return new AnnalsError({ reason: "STOPPING" }, "the server is stopping; join again");
}
