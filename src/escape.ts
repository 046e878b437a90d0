// Escapes what a terminal would obey or hide: control characters can move the cursor or overwrite
// earlier output, and invisible characters or ones that change the direction of the text can forge
// output. Names and payloads come from others, so that everything printed or logged passes here.

const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
/** `JSON.stringify` escapes the other control characters; line breaks are layout. */
const unsafeInJson = /[\u007F-\u009F\p{Cf}\p{Zl}\p{Zp}]/gu;

function unicodeEscape(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}

/** Replaces control characters and invisible characters by `\u001b` and the like. */
export function escaped(text: string): string {
  return text.replace(unsafe, unicodeEscape);
}

/** As `escaped`, for text that consists of lines. */
export function escapedLines(text: string): string {
  return text.split("\n").map(escaped).join("\n");
}

/** The same JSON value, with the characters escaped that a terminal would obey or hide. */
export function escapedJson(json: string): string {
  return json.replace(unsafeInJson, unicodeEscape);
}
