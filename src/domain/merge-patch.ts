// JSON Merge Patch (RFC 7396, section 2), by which GetState folds a stream's JSON events into a
// state.

import { isJsonObject, setMember, type Json } from "./json.ts";

/**
 * Applies the patch to the target: members that are null in the patch are removed, objects are
 * merged, everything else is replaced. The result reuses the target's objects, so that folding many
 * patches costs the size of the patches and not of the state. The caller bounds the nesting
 * (`jsonDepthMax`).
 */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isJsonObject(patch)) return patch;
  const merged = isJsonObject(target) ? target : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key] as Json;
    if (value === null) delete merged[key];
    else setMember(merged, key, mergePatch(member(merged, key), value));
  }
  return merged;
}

/** Own members only: `constructor` and other inherited names are data here. */
function member(object: { [key: string]: Json }, key: string): Json {
  return Object.hasOwn(object, key) ? (object[key] as Json) : null;
}
