// Requests that are encoded once by the generated codec and patched for each call: eight digits in
// a name, one character of a type. Encoding every request would make the client the limit.

import { timeDigits, timeOffset } from "./events.ts";

const digitCount = 8;

/** A placeholder for digits in a name, with which a template is encoded. */
export function marker(index: number): string {
  return `#m${String(index).padStart(digitCount - 2, "0")}`;
}

export interface Template {
  readonly bytes: Buffer;
  /** The offset of marker `i`, in order of the markers. */
  readonly places: readonly number[];
}

/** Finds the markers 0 to `count - 1` in encoded bytes. Each must occur once. */
export function template(bytes: Buffer, count: number): Template {
  const places = Array.from({ length: count }, (_, index) => {
    const at = bytes.indexOf(marker(index), 0, "latin1");
    if (at < 0) throw new Error(`template: marker ${index} is not there`);
    return at;
  });
  return { bytes, places };
}

/** Writes a number of up to eight digits in place of a marker. */
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

/** Writes the present time into the first payload. */
export function writeTime({ bytes }: Template): void {
  const at = bytes.indexOf('{"at":"', 0, "latin1");
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1_000);
  writeDigits(bytes, at + timeOffset, timeDigits, micros);
}
