// Text for a terminal: its width, cutting it to fit, counts with their nouns, and lines of JSON.

import { escapedJson } from "../../escape.ts";

/** A value as one line of JSON. */
export function jsonLine(value: object): string {
  return `${escapedJson(JSON.stringify(value))}\n`;
}

const zeroWidth = /^[\p{Mn}\p{Me}\p{Cf}]$/u;
/** East Asian scripts, their full-width forms, and emoji. */
const doubleWidth = new RegExp(
  String.raw`^[\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F` +
    String.raw`\uFF00-\uFF60\uFFE0-\uFFE6\u{1F300}-\u{1FAFF}\u{20000}-\u{3FFFD}]$`,
  "u",
);

function widthOfCharacter(character: string): number {
  if (character <= "\u02FF") return 1;
  if (zeroWidth.test(character)) return 0;
  return doubleWidth.test(character) ? 2 : 1;
}

/** The columns that the text takes. The text must not contain control sequences. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) width += widthOfCharacter(character);
  return width;
}

/** The text, cut if it does not fit and then ending in `…`. */
export function fitted(text: string, columns: number): string {
  if (text.length * 2 <= columns || columns === Number.POSITIVE_INFINITY) return text;
  let width = 0;
  let end = 0;
  let fitting = 0;
  for (const character of text) {
    width += widthOfCharacter(character);
    if (width > columns) return `${text.slice(0, fitting)}…`;
    end += character.length;
    if (width < columns) fitting = end;
  }
  return text;
}

/** Filled with spaces to a width, on the right or the left. */
export function padded(text: string, columns: number, side: "left" | "right"): string {
  const fill = " ".repeat(Math.max(0, columns - displayWidth(text)));
  return side === "left" ? text + fill : fill + text;
}

/** `1,234,567`. */
export function grouped(count: number | bigint): string {
  return count.toLocaleString("en-US");
}

/** `1 event`, `1,234 events`. */
export function counted(count: number | bigint, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 || count === 1n ? "" : "s"}`;
}

/** `12.3 MiB`. */
export function byteCount(bytes: number | bigint): string {
  let amount = Number(bytes);
  if (amount < 1024) return `${amount} B`;
  for (const unit of ["KiB", "MiB", "GiB"]) {
    amount /= 1024;
    if (amount < 1024 || unit === "GiB") {
      return `${amount.toFixed(amount < 10 ? 1 : 0).replace(/\.0$/, "")} ${unit}`;
    }
  }
  return "";
}
