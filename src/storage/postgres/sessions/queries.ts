// What the driver is asked for: statements whose rows come in the binary form, statements without
// parameters, and COPY. The driver sends one query after another and knows which of them is being
// answered; what is in a row it does not see (row-tap.ts).

import { Query, type Submittable } from "pg";
import { arrayLiteral, type Scalar } from "../tables/binary-arrays.ts";
import { RowReader } from "./row-reader.ts";
import type { Arrived } from "./row-tap.ts";

/** A named statement is parsed once in each session. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

export type Row = readonly unknown[];

/** The types of the columns of each statement, in one session. */
export type KnownColumns = Map<string, readonly number[]>;

/** What the driver's connection has. */
interface Wire {
  readonly stream: { cork(): void; uncork(): void };
  readonly parsedStatements: Readonly<Record<string, string | undefined>>;
  readonly submittedNamedStatements: Record<string, string | undefined>;
  parse(statement: Statement): void;
  bind(message: {
    readonly statement: string;
    readonly values: readonly (string | Buffer | null)[];
    readonly binary: true;
  }): void;
  describe(message: { readonly type: "P" }): void;
  execute(): void;
  sync(): void;
  query(text: string): void;
}

interface RowDescription {
  readonly fields: readonly { readonly dataTypeID: number }[];
}

/** The driver sends several queries at once only if they are of its own class. */
const DriverQuery = Query as unknown as new (statement: { readonly text: string }) => object;

/** A query that settles a promise. */
export abstract class Answered<T> extends DriverQuery {
  readonly ended: Promise<T>;
  /** How the driver ends a query, also one that it gives up. */
  callback: (error: Error | null | undefined, result?: T) => void = () => {};
  /** Milliseconds, then the connection is dropped. Absent: it may take any time. */
  query_timeout?: number;
  /** By what is wrong with an answer. */
  private failure: Error | undefined;

  constructor(text: string) {
    super({ text });
    this.ended = new Promise((resolve, reject) => {
      this.callback = (error, result) => {
        if (error === undefined || error === null) resolve(result as T);
        else reject(error);
      };
    });
  }

  abstract submit(connection: Wire): void;

  /** For the driver. */
  get submittable(): Submittable {
    return this as unknown as Submittable;
  }

  handleRowDescription(_description: RowDescription): void {}
  handleDataRow(_row: Arrived): void {}
  handleCopyData(_data: Arrived): void {}
  handleCommandComplete(_message: { readonly text: string }): void {}

  handleError(error: Error): void {
    this.callback(error);
  }

  handleReadyForQuery(): void {
    if (this.failure === undefined) this.callback(undefined, this.result());
    else this.callback(this.failure);
  }

  protected abstract result(): T;

  /** What fails in an answer is thrown when all of it was there. */
  protected trying(act: () => void): void {
    if (this.failure !== undefined) return;
    try {
      act();
    } catch (error) {
      this.failure = error as Error;
    }
  }
}

function uncorked(stream: Wire["stream"]): void {
  stream.uncork();
}

/** A named statement. Its rows are taken one by one. */
abstract class Asked<T> extends Answered<T> {
  /** The driver forgets by it that a statement is known, if that fails. */
  readonly name: string;
  private readonly text: string;
  private readonly values: readonly unknown[];

  constructor({ name, text }: Statement, values: readonly unknown[]) {
    super(text);
    this.name = name;
    this.text = text;
    this.values = values;
  }

  submit(connection: Wire): void {
    const { name, text } = this;
    const { stream, parsedStatements, submittedNamedStatements } = connection;
    const isNew = (parsedStatements[name] ?? submittedNamedStatements[name]) === undefined;
    stream.cork();
    if (isNew) {
      connection.parse({ name, text });
      submittedNamedStatements[name] = text;
    }
    connection.bind({ statement: name, values: this.values.map(parameter), binary: true });
    if (isNew) connection.describe({ type: "P" });
    connection.execute();
    connection.sync();
    // What else is asked in this turn travels with it.
    process.nextTick(uncorked, stream);
  }
}

/** Collects the rows, whatever their columns are. */
export class RowsQuery<R extends Row> extends Asked<R[]> {
  private readonly columns: KnownColumns;
  private readonly found: R[] = [];

  constructor(statement: Statement, values: readonly unknown[], columns: KnownColumns) {
    super(statement, values);
    this.columns = columns;
  }

  override handleRowDescription({ fields }: RowDescription): void {
    const types = fields.map(({ dataTypeID }) => dataTypeID);
    this.columns.set(this.name, types);
  }

  override handleDataRow(row: Arrived): void {
    this.trying(() => {
      const reader = new RowReader(row);
      const types = this.columns.get(this.name) ?? [];
      this.found.push(types.map((type) => reader.value(type)) as unknown as R);
    });
  }

  protected result(): R[] {
    return this.found;
  }
}

/** Hands each row to who knows its columns. */
export class EachRowQuery extends Asked<void> {
  private readonly take: (row: RowReader) => void;

  constructor(statement: Statement, values: readonly unknown[], take: (row: RowReader) => void) {
    super(statement, values);
    this.take = take;
  }

  override handleDataRow(row: Arrived): void {
    this.trying(() => this.take(new RowReader(row)));
  }

  protected result(): void {}
}

/** Statements without parameters, whose rows are not looked at. Tells the last one's name. */
export class TextQuery extends Answered<string> {
  private readonly text: string;
  private command = "";

  constructor(text: string) {
    super(text);
    this.text = text;
  }

  submit(connection: Wire): void {
    connection.query(this.text);
  }

  override handleCommandComplete({ text }: { readonly text: string }): void {
    this.command = text.split(" ", 1)[0] ?? "";
  }

  protected result(): string {
    return this.command;
  }
}

/** `take` gets what a COPY sends, row by row, and says whether it wants more. */
export class CopyQuery extends Answered<void> {
  private readonly text: string;
  private readonly take: (data: Arrived) => boolean;
  private readonly breakOff: () => void;
  private isOver = false;

  constructor(text: string, take: (data: Arrived) => boolean, breakOff: () => void) {
    super(text);
    this.text = text;
    this.take = take;
    this.breakOff = breakOff;
  }

  submit(connection: Wire): void {
    connection.query(this.text);
  }

  override handleCopyData(data: Arrived): void {
    this.trying(() => {
      if (this.isOver || this.take(data)) return;
      this.isOver = true;
      this.callback(undefined);
      this.breakOff();
    });
  }

  protected result(): void {}
}

/** As text, but for bytes. Statements say which types they are. */
function parameter(value: unknown): string | Buffer | null {
  if (value === undefined || value === null) return null;
  if (Buffer.isBuffer(value)) return value;
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  if (Array.isArray(value)) return arrayLiteral(value as Scalar[]);
  const scalar = value as Scalar;
  return String(scalar);
}
