// Refuses text that is not valid Unicode. Protobuf's encoder would turn every lone surrogate into
// U+FFFD, so that two names could become one. Requests are checked before they are encoded.

import { CallError } from "./call-error.ts";

const loneSurrogate = /\p{Surrogate}/u;
const invalidArgument = 3;

/** Throws INVALID_FIELD that names the field, as the server would if it could tell. */
export function refuseLoneSurrogates(request: object): void {
  const field = fieldWithLoneSurrogate(request, "");
  if (field === undefined) return;
  const description = "has a lone surrogate: not valid Unicode";
  throw new CallError(invalidArgument, `${field}: ${description}`, {
    reason: "INVALID_FIELD",
    violations: [{ field, description }],
  });
}

/** The path of the first such text in a message, in the names of the contract. */
function fieldWithLoneSurrogate(value: unknown, path: string): string | undefined {
  if (typeof value === "string") return loneSurrogate.test(value) ? path : undefined;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return undefined;
  if (Array.isArray(value)) {
    for (const [index, entry] of value.entries()) {
      const found = fieldWithLoneSurrogate(entry, `${path}[${index}]`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  for (const [name, entry] of Object.entries(value) as [string, unknown][]) {
    if (loneSurrogate.test(name)) return path;
    // A oneof is not a field, but its set member is.
    const found = isOneof(entry)
      ? fieldWithLoneSurrogate(entry.value, fieldOf(path, entry.case))
      : fieldWithLoneSurrogate(entry, fieldOf(path, name));
    if (found !== undefined) return found;
  }
  return undefined;
}

function isOneof(value: unknown): value is { readonly case: string; readonly value: unknown } {
  return typeof value === "object" && value !== null && "case" in value && "value" in value;
}

function fieldOf(path: string, name: string): string {
  const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return path === "" ? field : `${path}.${field}`;
}
