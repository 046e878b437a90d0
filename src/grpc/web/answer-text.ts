// The text of an answer, made in steps: long texts and bytes piece by piece.

import { piecesOf } from "../../domain/exact-json.ts";
import { Effort, type Steps } from "../../domain/steps.ts";
import { WrittenText } from "../../domain/written-text.ts";

/** Shorter messages have answers that are made at once. */
export const shortAnswerBytesMax = 16 * 1024;
/** Bytes of a piece. Those of base64 are groups of three. */
const pieceBytes = 16 * 1024;
const base64PieceBytes = 3 * pieceBytes;
/** What a byte costs that is made text, as the scheduler counts: see domain/steps.ts. */
const byteShare = 1 / 4;
const base64Share = 1 / 16;
/** Base64 has a third more bytes; names and quotation marks come to it. */
const growth = 1.5;

/** How a piece of a text is written. */
type Said = (piece: string) => string;

const asString: Said = (piece) => JSON.stringify(piece).slice(1, -1);

export class AnswerText {
  /** What is at most as long is written at once. */
  readonly atOnceBytesMax: number;
  private readonly written: WrittenText;
  private readonly effort = new Effort();

  /** `bytes`: of the message that it says. */
  constructor(bytes: number, atOnceBytesMax = 4 * 1024) {
    this.atOnceBytesMax = atOnceBytesMax;
    this.written = new WrittenText(bytes > shortAnswerBytesMax ? Math.ceil(bytes * growth) : 0);
  }

  /** Returns whether the step is long enough: `take` tells its cost. */
  add(text: string, cost = 0): boolean {
    this.written.push(text);
    return this.effort.spend(cost);
  }

  take(): number {
    return this.effort.take();
  }

  /** All of it. */
  bytes(): Buffer {
    return this.written.bytes();
  }

  /** A text in UTF-8, by default as a string of JSON has it, without quotation marks. */
  *addText(bytes: Uint8Array, said: Said = asString): Steps<void> {
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    for (let from = 0; from < bytes.length; from += pieceBytes) {
      const piece = bytes.subarray(from, from + pieceBytes);
      const text = utf8.decode(piece, { stream: true });
      if (this.add(said(text), piece.length * byteShare)) yield this.take();
    }
    // Throws where the last character is cut off.
    utf8.decode();
  }

  /** A string of JSON without its quotation marks. */
  *addString(text: string): Steps<void> {
    for (const piece of piecesOf(text)) {
      if (this.add(asString(piece), piece.length * byteShare)) yield this.take();
    }
  }

  *addBase64(bytes: Uint8Array): Steps<void> {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let from = 0; from < bytes.length; from += base64PieceBytes) {
      const to = Math.min(bytes.length, from + base64PieceBytes);
      const text = buffer.toString("base64", from, to);
      if (this.add(text, (to - from) * base64Share)) yield this.take();
    }
  }
}
