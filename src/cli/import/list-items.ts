// Divides a file of JSON into events: one on each line, or all in one list. A list is not read as a
// whole: it may be larger than the memory.

import { byteCount } from "../output/display.ts";
import { BadLine, lineBytesMax, linesOf, textOf, type InputLine } from "./input-lines.ts";

const [lineBreak, quote, backslash, comma, listStart, listEnd, objectStart, objectEnd] =
  Buffer.from('\n"\\,[]{}') as unknown as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];

/** Throws `BadLine`. */
export async function* itemsOf(input: AsyncIterable<Buffer>): AsyncGenerator<InputLine> {
  const source = input[Symbol.asyncIterator]();
  const seen: Buffer[] = [];
  let first: number | undefined;
  while (first === undefined) {
    const { done, value } = await source.next();
    if (done === true) break;
    seen.push(value);
    first = value.find((byte) => !isSpace(byte));
  }
  const all = replayed(seen, source);
  yield* first === listStart ? listItems(all) : linesOf(all);
}

async function* replayed(
  seen: readonly Buffer[],
  source: AsyncIterator<Buffer>,
): AsyncGenerator<Buffer> {
  try {
    yield* seen;
    for (let next = await source.next(); next.done !== true; next = await source.next()) {
      yield next.value;
    }
  } finally {
    // Not awaited, because it returns only when the pending input arrives or is destroyed.
    source.return?.(undefined).catch(() => {});
  }
}

/** White space, and the bytes of a byte order mark. */
function isSpace(byte: number): boolean {
  return byte <= 0x20 || byte === 0xef || byte === 0xbb || byte === 0xbf;
}

/** The objects of a list, each with the line that it begins on. */
async function* listItems(input: AsyncIterable<Buffer>): AsyncGenerator<InputLine> {
  const list = new ListReader();
  for await (const chunk of input) {
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const what = list.take(chunk[at] as number);
      if (what === "begins") start = at;
      if (what !== "ends") continue;
      yield list.item(chunk.subarray(start, at + 1));
    }
    if (list.isInItem) list.keep(chunk.subarray(start));
  }
  if (!list.isOver) throw new BadLine(list.line, "the list has no end");
}

/** Follows the bytes of a list. */
class ListReader {
  line = 1;
  isOver = false;
  private depth = 0;
  private isInString = false;
  private isEscaped = false;
  /** The next thing at depth 1 must be a comma or the end. */
  private isAfterItem = false;
  private isAfterComma = false;
  private startLine = 0;
  private torn: Buffer[] = [];
  private tornBytes = 0;

  get isInItem(): boolean {
    return this.depth > 1;
  }

  /** The beginning of an item that goes on in the next chunk. */
  keep(piece: Buffer): void {
    this.torn.push(piece);
    this.tornBytes += piece.length;
    if (this.tornBytes > lineBytesMax) {
      throw new BadLine(this.startLine, `longer than ${byteCount(lineBytesMax)}`);
    }
  }

  /** The item that has ended. */
  item(end: Buffer): InputLine {
    const bytes = this.tornBytes === 0 ? end : Buffer.concat([...this.torn, end]);
    [this.torn, this.tornBytes] = [[], 0];
    const { startLine: number } = this;
    return { number, text: textOf(bytes, number), byteLength: bytes.length, isInList: true };
  }

  take(byte: number): "begins" | "ends" | undefined {
    if (byte === lineBreak) this.line++;
    if (this.isInString) return this.inString(byte);
    if (this.depth > 1) return this.inItem(byte);
    if (isSpace(byte)) return undefined;
    return this.between(byte);
  }

  private inString(byte: number): undefined {
    if (this.isEscaped) this.isEscaped = false;
    else if (byte === backslash) this.isEscaped = true;
    else if (byte === quote) this.isInString = false;
  }

  private inItem(byte: number): "ends" | undefined {
    if (byte === quote) this.isInString = true;
    else if (byte === objectStart || byte === listStart) this.depth++;
    else if (byte === objectEnd || byte === listEnd) this.depth--;
    if (this.depth > 1) return undefined;
    this.isAfterItem = true;
    return "ends";
  }

  private between(byte: number): "begins" | undefined {
    const { depth, isAfterItem, isAfterComma } = this;
    if (depth === 0) {
      if (byte !== listStart || this.isOver) throw new BadLine(this.line, "not one list");
      this.depth = 1;
    } else if (byte === listEnd && !isAfterComma) {
      this.depth = 0;
      this.isOver = true;
    } else if (byte === comma && isAfterItem) {
      this.isAfterItem = false;
      this.isAfterComma = true;
    } else if (byte === objectStart && !isAfterItem) {
      this.depth = 2;
      this.isAfterComma = false;
      this.startLine = this.line;
      return "begins";
    } else throw new BadLine(this.line, "not a list of objects");
    return undefined;
  }
}
