// Reads the text format of Prometheus, as `/metrics` answers it.

interface MetricSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const sampleLine = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?[ \t]+(\S+)/;
const labelPair = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const escapes: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** The samples of one look, by the name of the metric. */
export class MetricsText {
  private readonly samples = new Map<string, MetricSample[]>();

  constructor(text: string) {
    for (const line of text.split("\n")) this.read(line);
  }

  has(name: string): boolean {
    return this.samples.has(name);
  }

  /** Without samples: an empty list. */
  of(name: string): readonly MetricSample[] {
    return this.samples.get(name) ?? [];
  }

  /** The sum of the samples that have these labels; undefined: there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const wanted = Object.entries(labels);
    const found = this.of(name).filter((sample) =>
      wanted.every(([label, text]) => sample.labels[label] === text),
    );
    if (found.length === 0) return undefined;
    return found.reduce((sum, { value }) => sum + value, 0);
  }

  private read(line: string): void {
    const [, name, pairs = "", number = ""] = sampleLine.exec(line) ?? [];
    const value = number === "+Inf" ? Infinity : Number(number);
    if (name === undefined || Number.isNaN(value)) return;
    const labels = [...pairs.matchAll(labelPair)].map(([, label = "", text = ""]) => {
      return [label, text.replaceAll(/\\./g, (escape) => escapes[escape] ?? escape)] as const;
    });
    const sample = { labels: Object.fromEntries(labels), value };
    const known = this.samples.get(name);
    if (known === undefined) this.samples.set(name, [sample]);
    else known.push(sample);
  }
}
