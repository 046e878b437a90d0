// Finds the name that a mistyped one probably stands for.

/** Longer ones are not looked at. */
const charsMax = 256;

/** The first name that differs by at most two letters, missing, added or changed. */
export function nearTo(word: string, names: Iterable<string>): string | undefined {
  if (word.length > charsMax) return undefined;
  for (const name of names) {
    if (Math.abs(name.length - word.length) <= 2 && isNear(name, word)) return name;
  }
  return undefined;
}

function isNear(one: string, other: string): boolean {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 0; i < one.length; i += 1) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j += 1) {
      const changed = (row[j] ?? 0) + (one[i] === other[j] ? 0 : 1);
      next.push(Math.min(changed, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return (row.at(-1) ?? 0) <= 2;
}
