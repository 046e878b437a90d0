// Text for trailers and details: well-formed, and cut to a limit in bytes. A lone surrogate or a
// very long message in a trailer would break the whole answer.

/**
 * The text in at most `bytesMax` bytes of UTF-8, cut at a character and marked where it was cut.
 */
export function shorten(text: string, bytesMax: number): string {
  const wellFormed = text.replaceAll(/\p{Cs}/gu, "\ufffd");
  if (Buffer.byteLength(wellFormed) <= bytesMax) return wellFormed;
  const mark = "...";
  let bytes = 0;
  let kept = "";
  for (const character of wellFormed) {
    bytes += Buffer.byteLength(character);
    if (bytes > bytesMax - mark.length) break;
    kept += character;
  }
  return kept + mark;
}

/** The longest beginning of a list whose entries weigh at most `bytesMax` together. */
export function fitting<T>(
  entries: readonly T[],
  bytesMax: number,
  bytesOf: (entry: T) => number,
): T[] {
  const kept: T[] = [];
  let bytes = 0;
  for (const entry of entries) {
    bytes += bytesOf(entry);
    if (bytes > bytesMax) break;
    kept.push(entry);
  }
  return kept;
}
