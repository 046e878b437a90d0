// Walks over a long JSON text in steps, without parsing it: what there is too much of is refused by
// name before anything is made of it.

import { invalidField, type AnnalsError } from "../../domain/errors.ts";
import { JsonScan, jsonTextBytesMax, stringEnds } from "../../domain/json.ts";
import type { Steps } from "../../domain/steps.ts";

/** Bytes that are looked over in one step, and what each of them costs. */
const scannedBytes = 32 * 1024;
export const scannedShare = 1 / 4;
/** Between two values. */
const spaceBytesMax = 256 * 1024;

interface JsonBounds {
  readonly depthMax: number;
  readonly valuesMax: number;
  /** What has them, for messages. */
  readonly where?: string;
  /** Whether numbers are refused that a double would change. */
  readonly refusesExactNumbers: boolean;
}

/** Throws INVALID_FIELD where there is too much of something. */
export function* looked(body: Uint8Array, bounds: JsonBounds): Steps<void> {
  const scan = new JsonScan(body, jsonTextBytesMax);
  for (let goesOn = true; goesOn;) {
    goesOn = scan.run(scannedBytes);
    judge(scan, bounds);
    if (goesOn) yield scannedBytes * scannedShare;
  }
}

function judge(scan: JsonScan, bounds: JsonBounds): void {
  const { depthMax, valuesMax, where = "", refusesExactNumbers } = bounds;
  const { depth, values, changesNumbers } = scan.shape;
  if (depth > depthMax) throw tooMuch(`nests deeper than ${depthMax} levels`);
  if (values > valuesMax) throw tooMuch(`has ${where}more than ${valuesMax} values`);
  if (scan.hasLongText) {
    throw tooMuch(`has a text with escapes of more than ${jsonTextBytesMax} bytes`);
  }
  if (changesNumbers && refusesExactNumbers) throw noDouble();
}

export function tooMuch(what: string, name = "body"): AnnalsError {
  return invalidField(name, `the JSON ${what}`);
}

export function noDouble(name?: string): AnnalsError {
  const remedy = "send it as a string, or the payload's exact text in data";
  return tooMuch(`has a number that no IEEE 754 double is: ${remedy}`, name);
}

/** Where a value begins and ends. */
export type Span = readonly [start: number, end: number];

export class JsonWalk {
  at: number;
  private readonly body: Uint8Array;
  private readonly last: number;
  private readonly endOf: (start: number) => number;

  /** A part of a text. */
  constructor(body: Uint8Array, start = 0, end = body.length) {
    this.body = body;
    this.at = start;
    this.last = end;
    this.endOf = stringEnds(body);
  }

  isNext(byte: number): boolean {
    const { body, at: start } = this;
    const last = Math.min(this.last, start + spaceBytesMax + 1);
    let { at } = this;
    while (at < last && isSpace(body[at])) at++;
    this.at = at;
    if (at - start > spaceBytesMax) throw tooMuch(`has more than ${spaceBytesMax} spaces in a row`);
    return at < this.last && body[at] === byte;
  }

  passes(byte: number): boolean {
    const isNext = this.isNext(byte);
    if (isNext) this.at++;
    return isNext;
  }

  expect(byte: number): void {
    if (!this.passes(byte)) throw invalidField("body", `is not JSON: see byte ${this.at}`);
  }

  /** The next value, or key. */
  *value(): Steps<Span> {
    const { body, last, endOf } = this;
    this.isNext(0);
    const start = this.at;
    let depth = 0;
    let seen = start;
    for (; this.at < last; this.at++) {
      const byte = body[this.at] as number;
      if (byte === 0x22) this.at = endOf(this.at);
      else if (byte === 0x7b || byte === 0x5b) depth++;
      else if (byte === 0x7d || byte === 0x5d) depth--;
      const isOver =
        depth < 0 || (depth === 0 && (byte === 0x2c || byte === 0x3a || isSpace(byte)));
      if (isOver) break;
      if (this.at - seen < scannedBytes) continue;
      seen = this.at;
      yield scannedBytes * scannedShare;
    }
    this.at = Math.min(this.at, last);
    if (this.at === start) this.expect(-1);
    return [start, this.at];
  }

  end(): void {
    this.isNext(0);
    if (this.at < this.last) this.expect(-1);
  }
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
