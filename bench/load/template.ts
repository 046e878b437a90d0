// Requests encoded once by the generated codec and patched for each call: eight digits in a name, a
// character of a type. Encoding every request anew would make the client the limit.

import { timeDigits, timeOffset } from "./events.ts";

const digitCount = 8;

/** A place in a name where digits go; what a template is encoded with before they are known. */
export function marker(index: number): string {
  return `#m${String(index).padStart(digitCount - 2, "0")}`;
}

export interface Template {
  readonly bytes: Buffer;
  /** Where marker `i` stands, in order of the markers. */
  readonly places: readonly number[];
}

/** Finds the markers 0 to `count - 1` in encoded bytes; each must be there once. */
export function template(bytes: Buffer, count: number): Template {
  const places = Array.from({ length: count }, (_, index) => {
    const at = bytes.indexOf(marker(index), 0, "latin1");
    if (at < 0) throw new Error(`template: marker ${index} is not there`);
    return at;
  });
  return { bytes, places };
}

/** Writes a number of up to eight digits where a marker stood. */
export function patch({ bytes, places }: Template, index: number, value: number): void {
  writeDigits(bytes, places[index] as number, digitCount, value);
}

export function writeDigits(bytes: Buffer, offset: number, digits: number, value: number): void {
  let rest = value;
  for (let at = offset + digits - 1; at >= offset; at--) {
    const next = Math.floor(rest / 10);
    bytes[at] = 0x30 + (rest - next * 10);
    rest = next;
  }
}

/** When the request was made, into the first payload. */
export function writeTime({ bytes }: Template): void {
  const at = bytes.indexOf('{"at":"', 0, "latin1");
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1_000);
  writeDigits(bytes, at + timeOffset, timeDigits, micros);
}
