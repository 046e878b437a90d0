// Text for a terminal: its width, cutting it to fit, and escaping. Stored text may contain control
// characters. Printed raw, they could move the cursor or overwrite earlier output.

const unsafe = /[\p{Cc}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu;

/** Replaces control and direction-changing characters by `\u001b` and the like. */
export function disarmed(text: string): string {
  return text.replace(
    unsafe,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
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
export function eventsCounted(count: number | bigint): string {
  return `${grouped(count)} ${count === 1 || count === 1n ? "event" : "events"}`;
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
