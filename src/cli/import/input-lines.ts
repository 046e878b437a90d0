// Splits a byte stream into lines of strict UTF-8, numbered from 1. Blank lines are counted and
// skipped. The length of a line is limited, so that a file without line breaks cannot fill the
// memory.

import { byteCount } from "../output/display.ts";
import { CommandError } from "../arguments/options.ts";

export interface InputLine {
  readonly number: number;
  /** Does not include the line break. */
  readonly text: string;
  readonly byteLength: number;
  /** The event is an item of a JSON list, of which a line may have several. */
  readonly isInList?: boolean;
}

/** A line is invalid. Nothing of it was stored. */
export class BadLine extends CommandError {
  constructor(line: number, problem: string, options?: ErrorOptions) {
    super(`line ${line}: ${problem}`, options);
  }
}

/** Has room for the largest event as base64, or with every byte escaped in JSON. */
export const lineBytesMax = 32 * 1024 * 1024;
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const byteOrderMark = "\uFEFF";

/** Throws `BadLine`. */
export async function* linesOf(input: AsyncIterable<Buffer>): AsyncGenerator<InputLine> {
  let number = 0;
  let torn: Buffer[] = [];
  let tornBytes = 0;
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end);
      const bytes = tornBytes === 0 ? piece : Buffer.concat([...torn, piece]);
      start = end + 1;
      [torn, tornBytes] = [[], 0];
      number += 1;
      const line = lineOf(bytes, number);
      if (line !== undefined) yield line;
    }
    if (start === chunk.length) continue;
    torn.push(chunk.subarray(start));
    tornBytes += chunk.length - start;
    if (tornBytes > lineBytesMax) {
      throw new BadLine(number + 1, `longer than ${byteCount(lineBytesMax)}`);
    }
  }
  const last = tornBytes === 0 ? undefined : lineOf(Buffer.concat(torn), number + 1);
  if (last !== undefined) yield last;
}

function lineOf(bytes: Buffer, number: number): InputLine | undefined {
  let text = textOf(bytes, number);
  if (number === 1 && text.startsWith(byteOrderMark)) text = text.slice(1);
  if (text.endsWith("\r")) text = text.slice(0, -1);
  return text.trim() === "" ? undefined : { number, text, byteLength: bytes.length };
}

/** Throws `BadLine`. */
export function textOf(bytes: Buffer, line: number): string {
  try {
    return strictUtf8.decode(bytes);
  } catch (error) {
    throw new BadLine(line, `not UTF-8`, { cause: error });
  }
}
