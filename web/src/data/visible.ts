// Text of events is written by others. What would be invisible in it, or change the direction of
// the text around it, is shown as what it is.

export interface Segment {
  readonly text: string;
  /** The text is the name of one character that cannot be seen, for example `U+202E`. */
  readonly isHidden: boolean;
}

/** Controls, formats (bidi, zero width), separators of lines, selectors, odd and empty spaces. */
export const hidden =
  /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\p{Variation_Selector}\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u115f\u1160\u3164\uffa0\u2800]/gu;
/** The same, where line breaks and tabs are layout. */
const hiddenInLines = new RegExp(`(?![\\n\\t])${hidden.source}`, "gu");

export function segmentsOf(text: string, hasLines = false): readonly Segment[] {
  const segments: Segment[] = [];
  let end = 0;
  for (const { 0: character, index } of text.matchAll(hasLines ? hiddenInLines : hidden)) {
    if (index > end) segments.push({ text: text.slice(end, index), isHidden: false });
    segments.push({ text: nameOf(character), isHidden: true });
    end = index + character.length;
  }
  if (end < text.length) segments.push({ text: text.slice(end), isHidden: false });
  return segments;
}

/** As one text, for titles, labels and the clipboard's commands. */
export function visible(text: string): string {
  return segmentsOf(text)
    .map((segment) => (segment.isHidden ? `<${segment.text}>` : segment.text))
    .join("");
}

function nameOf(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
}
