// An event's data as JSON text. What JSON would lose without a word is refused: an event is kept
// for ever, and a total of NaN would be kept as null.

class NotJsonError extends TypeError {}

/** Throws a `NotJsonError` that names the member. */
export function jsonText(data: unknown): string {
  // First: it is the one to refuse cycles and BigInt.
  const text = JSON.stringify(data) as string | undefined;
  const lost = lostMember(data, "data");
  if (lost !== undefined) throw new NotJsonError(lost.join(" "));
  if (text === undefined) throw new NotJsonError("data has no form in JSON");
  return text;
}

type Lost = readonly [path: string, why: string];

function lostMember(value: unknown, path: string): Lost | undefined {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) ? undefined : [path, `is ${value}, which JSON has no form for`];
    case "function":
    case "symbol":
      return [path, `is a ${typeof value}`];
    case "object":
      return value === null ? undefined : lostInside(value, path);
    default:
      return undefined;
  }
}

function lostInside(value: object, path: string): Lost | undefined {
  if ("toJSON" in value) return undefined;
  if (Array.isArray(value)) {
    for (const [index, entry] of value.entries()) {
      const at = `${path}[${index}]`;
      // As a member it is left out, which says the same; here it would become null.
      if (entry === undefined) return [at, "is undefined"];
      const lost = lostMember(entry, at);
      if (lost !== undefined) return lost;
    }
    return undefined;
  }
  if (value instanceof Map || value instanceof Set || ArrayBuffer.isView(value)) {
    return [path, `is a ${value.constructor.name}, whose content JSON would lose`];
  }
  for (const [name, entry] of Object.entries(value) as [string, unknown][]) {
    const lost = lostMember(entry, `${path}.${name}`);
    if (lost !== undefined) return lost;
  }
  return undefined;
}
