// Finds the members of a JSON object and the text of each value. Parsing and printing would change
// numbers beyond 2^53, spacing and the order of keys. A payload must keep its text.

export interface JsonMember {
  readonly name: string;
  /** The value's text, without the white space around it. */
  readonly text: string;
}

const stringStop = /["\\]/g;
const nestingStop = /["{}[\]]/g;
const scalarEnd = /[\s,}\]]/g;
const notSpace = /[^ \t\r\n]/g;

/** The members in order, including duplicates. `text` must be one valid JSON object. */
export function membersOf(text: string): JsonMember[] {
  const members: JsonMember[] = [];
  let at = next(notSpace, text, next(notSpace, text, 0) + 1);
  while (text[at] !== "}") {
    const nameEnd = endOfString(text, at);
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    const start = next(notSpace, text, next(notSpace, text, nameEnd) + 1);
    const end = endOfValue(text, start);
    members.push({ name, text: text.slice(start, end) });
    at = next(notSpace, text, end);
    if (text[at] === ",") at = next(notSpace, text, at + 1);
  }
  return members;
}

/** The position of the next match of `stop`. */
function next(stop: RegExp, text: string, from: number): number {
  stop.lastIndex = from;
  return stop.exec(text)?.index ?? text.length;
}

function endOfString(text: string, start: number): number {
  let at = next(stringStop, text, start + 1);
  while (text[at] === "\\") at = next(stringStop, text, at + 2);
  return at + 1;
}

function endOfValue(text: string, start: number): number {
  const first = text[start];
  if (first === '"') return endOfString(text, start);
  if (first !== "{" && first !== "[") return next(scalarEnd, text, start);
  let depth = 0;
  let at = start;
  do {
    const stop = text[at];
    if (stop === '"') at = endOfString(text, at);
    else {
      depth += stop === "{" || stop === "[" ? 1 : -1;
      at += 1;
    }
    if (depth > 0) at = next(nestingStop, text, at);
  } while (depth > 0 && at < text.length);
  return at;
}
