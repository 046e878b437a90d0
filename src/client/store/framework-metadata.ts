// The metadata of frameworks that have more than text under names: what Annals accepts is an entry
// of its own, and everything else is one entry of JSON text (docs/model.md).

import { jsonText } from "./json-text.ts";

/** Of the 64 that an event may have. */
const textEntriesMax = 63;

/**
 * The metadata to append. `name` is that of the entry of JSON text, which is only there if
 * something needs it; after the framework: `emmett-metadata`. Throws a `TypeError` that names a
 * value which JSON would lose.
 */
export function packMetadata(
  name: string,
  metadata: Readonly<Record<string, unknown>>,
): Record<string, string> {
  const texts: [string, string][] = [];
  const rest: [string, unknown][] = [];
  for (const [key, value] of Object.entries(metadata)) {
    const isText = typeof value === "string" && key !== "" && !key.startsWith("$") && key !== name;
    if (isText && texts.length < textEntriesMax) texts.push([key, value]);
    else if (value !== undefined) rest.push([key, value]);
  }
  if (rest.length > 0) texts.push([name, jsonText(Object.fromEntries(rest))]);
  return Object.fromEntries(texts);
}

/** What `packMetadata` was given. An entry `name` that it did not write stays as it is. */
export function unpackMetadata(
  name: string,
  stored: Readonly<Record<string, string>>,
): Record<string, unknown> {
  const { [name]: json, ...texts } = stored;
  if (json === undefined) return texts;
  const rest = parsedObject(json);
  if (rest === undefined) return { ...stored };
  return Object.fromEntries([...Object.entries(texts), ...Object.entries(rest)]);
}

function parsedObject(json: string): object | undefined {
  try {
    const parsed: unknown = JSON.parse(json);
    const isObject = typeof parsed === "object" && parsed !== null && !Array.isArray(parsed);
    return isObject ? parsed : undefined;
  } catch {
    return undefined;
  }
}
