// Reads JSON without changing it: numbers keep their text, members their order, and a name that
// comes twice comes twice. `JSON.parse` would round 9007199254740993 and drop the first of two.

export type Json =
  | { readonly kind: "object"; readonly members: readonly (readonly [string, Json])[] }
  | { readonly kind: "array"; readonly items: readonly Json[] }
  | { readonly kind: "string"; readonly text: string }
  /** A number, `true`, `false` or `null`, as it is written. */
  | { readonly kind: "number" | "word"; readonly text: string };

/** Deeper JSON is shown as text. */
const depthMax = 200;

/** Undefined: the text is not JSON, or is nested too deeply to be shown as a tree. */
export function readJson(text: string): Json | undefined {
  const reader = new Reader(text);
  try {
    const value = reader.value(0);
    return reader.isAtEnd() ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const space = /[ \t\n\r]*/y;
const plain = /[^"\\\p{Cc}]*/uy;
const numberOrWord = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

class Reader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  isAtEnd(): boolean {
    this.match(space);
    return this.at === this.text.length;
  }

  value(depth: number): Json {
    if (depth > depthMax) throw new SyntaxError("too deep");
    this.match(space);
    switch (this.text[this.at]) {
      case "{":
        return this.object(depth);
      case "[":
        return this.array(depth);
      case '"':
        return { kind: "string", text: this.string() };
      default: {
        const text = this.match(numberOrWord);
        if (text === "") throw new SyntaxError("no value");
        return { kind: /^[tfn]/.test(text) ? "word" : "number", text };
      }
    }
  }

  private object(depth: number): Json {
    const members: [string, Json][] = [];
    this.list("}", () => {
      const name = this.string();
      this.match(space);
      this.expect(":");
      members.push([name, this.value(depth + 1)]);
    });
    return { kind: "object", members };
  }

  private array(depth: number): Json {
    const items: Json[] = [];
    this.list("]", () => void items.push(this.value(depth + 1)));
    return { kind: "array", items };
  }

  private list(end: string, one: () => void): void {
    this.at += 1;
    this.match(space);
    if (this.text[this.at] === end) {
      this.at += 1;
      return;
    }
    for (;;) {
      this.match(space);
      one();
      this.match(space);
      if (this.text[this.at] === end) {
        this.at += 1;
        return;
      }
      this.expect(",");
    }
  }

  private string(): string {
    const start = this.at;
    this.expect('"');
    const part = this.match(plain);
    if (this.text[this.at] === '"') {
      this.at += 1;
      return part;
    }
    // Escapes, and controls from U+007F on, which need none.
    while (this.text[this.at] !== '"' && this.at < this.text.length) {
      this.at += this.text[this.at] === "\\" ? 2 : 1;
      this.match(plain);
    }
    this.expect('"');
    // `JSON.parse` refuses wrong escapes and controls.
    return JSON.parse(this.text.slice(start, this.at)) as string;
  }

  private expect(character: string): void {
    if (this.text[this.at] !== character) throw new SyntaxError(`no ${character}`);
    this.at += 1;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const [found = ""] = pattern.exec(this.text) ?? [];
    this.at += found.length;
    return found;
  }
}

export function isLeaf(value: Json): value is Extract<Json, { text: string }> {
  return value.kind !== "object" && value.kind !== "array";
}

/** The parts of an object or an array with their names; those of an array are numbers. */
export function partsOf(value: Json): readonly (readonly [string, Json])[] {
  if (value.kind === "object") return value.members;
  return value.kind === "array" ? value.items.map((item, index) => [`${index}`, item]) : [];
}

/** The same value on one line. */
export function compact(value: Json): string {
  switch (value.kind) {
    case "object": {
      const members = value.members.map(
        ([name, part]) => `${JSON.stringify(name)}:${compact(part)}`,
      );
      return `{${members.join(",")}}`;
    }
    case "array":
      return `[${value.items.map(compact).join(",")}]`;
    case "string":
      return JSON.stringify(value.text);
    default:
      return value.text;
  }
}
