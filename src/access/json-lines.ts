// JSON files that people write: the value, and the line on which each part of it begins, so that an
// error can name both. A member that is written twice is refused, since the last one would silently
// win.

export type Path = readonly (string | number)[];

export interface JsonText {
  readonly value: unknown;
  /** The line of the part at this path, from 1, or that of its nearest parent. */
  lineOf(path: Path): number;
}

/** What is wrong with a file: a line for each fault, `file:line: path: what`. */
export class FileFaults extends Error {
  override readonly name = "FileFaults";
}

/** Throws FileFaults where the text is not JSON or names a member twice. */
export function parseJsonText(text: string, file: string): JsonText {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const message = (error as Error).message.replace(/ in JSON at position.*| \(line.*/s, "");
    throw new FileFaults(`${file}:${lineOfSyntaxError(error as Error, text)}: ${message}`);
  }
  const scan = new Scan(text);
  scan.value([]);
  const [twice] = scan.twice;
  if (twice !== undefined) {
    throw new FileFaults(`${file}:${twice.line}: ${pathText(twice.path)}: is written twice`);
  }
  return {
    value,
    lineOf(path) {
      for (let length = path.length; length > 0; length--) {
        const line = scan.lines.get(JSON.stringify(path.slice(0, length)));
        if (line !== undefined) return line;
      }
      return 1;
    },
  };
}

/** `roles.billing.read[1]`. */
export function pathText(path: Path): string {
  const parts = path.map((part, i) => {
    if (typeof part === "number") return `[${part}]`;
    const plain = /^[\w-]+$/.test(part) ? part : JSON.stringify(part);
    return i === 0 ? plain : `.${plain}`;
  });
  return parts.join("");
}

function lineOfSyntaxError({ message }: Error, text: string): number {
  const position = /at position (\d+)/.exec(message)?.[1];
  return lineAt(text, position === undefined ? text.length : Number(position));
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

const token = /[\s,:]*("(?:[^"\\]|\\.)*"|[{}[\]]|[^\s{}[\],:"]+)/y;

/** A walk over valid JSON that keeps where each value begins. */
class Scan {
  readonly lines = new Map<string, number>();
  readonly twice: { readonly path: Path; readonly line: number }[] = [];
  private readonly text: string;
  private line = 1;
  private counted = 0;

  constructor(text: string) {
    this.text = text;
    token.lastIndex = 0;
  }

  value(path: Path, first = this.next()): void {
    const key = JSON.stringify(path);
    if (this.lines.has(key)) this.twice.push({ path, line: this.line });
    this.lines.set(key, this.line);
    if (first === "{") {
      for (let name = this.next(); name !== "}"; name = this.next()) {
        this.value([...path, JSON.parse(name) as string]);
      }
    } else if (first === "[") {
      let index = 0;
      for (let entry = this.next(); entry !== "]"; entry = this.next()) {
        this.value([...path, index++], entry);
      }
    }
  }

  private next(): string {
    const found = token.exec(this.text)?.[1];
    if (found === undefined) throw new RangeError("not the end of a JSON text");
    const start = token.lastIndex - found.length;
    this.line += this.text.slice(this.counted, start).split("\n").length - 1;
    this.counted = start;
    return found;
  }
}
