// The body of a request by HTTP/1.1, of a given length or in chunks, out of what comes of it.
// Source: RFC 9112, sections 6 and 7.

import { BadRequest, isField, type RequestHead } from "./request-head.ts";

export interface BodyPart {
  readonly data: Buffer;
  /** What comes behind the body. */
  readonly rest: Buffer;
}

export interface RequestBody {
  readonly isComplete: boolean;
  /** Throws BadRequest. */
  read(bytes: Buffer): BodyPart;
}

/** Of what chunks have beside their data: extensions and trailers, which nobody reads. */
const unreadBytesMax = 16 * 1024;
const none = Buffer.alloc(0);
/** At most 4 GiB. */
const sizeForm = /^([\da-f]{1,8})(?:;[\t\x20-\x7e\x80-\xff]*)?$/i;

export function bodyReader(body: RequestHead["body"]): RequestBody {
  return body === "chunked" ? new ChunkedBody() : new SizedBody(body.bytes);
}

class SizedBody implements RequestBody {
  private missingBytes: number;

  constructor(bytes: number) {
    this.missingBytes = bytes;
  }

  get isComplete(): boolean {
    return this.missingBytes === 0;
  }

  read(bytes: Buffer): BodyPart {
    if (bytes.length <= this.missingBytes) {
      this.missingBytes -= bytes.length;
      return { data: bytes, rest: none };
    }
    const data = bytes.subarray(0, this.missingBytes);
    this.missingBytes = 0;
    return { data, rest: bytes.subarray(data.length) };
  }
}

class ChunkedBody implements RequestBody {
  isComplete = false;
  private awaits: "size" | "data" | "end of data" | "trailer" = "size";
  /** The beginning of a line. */
  private line = "";
  private missingBytes = 0;
  private unreadBytesLeft = unreadBytesMax;

  read(bytes: Buffer): BodyPart {
    const parts: Buffer[] = [];
    let at = 0;
    while (at < bytes.length && !this.isComplete) {
      if (this.awaits !== "data") {
        at = this.readLine(bytes, at);
        continue;
      }
      const part = bytes.subarray(at, at + this.missingBytes);
      parts.push(part);
      at += part.length;
      this.missingBytes -= part.length;
      if (this.missingBytes === 0) this.awaits = "end of data";
    }
    // Thousands of tiny chunks cost a copy, and the handler of the request one call.
    const data = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    return { data, rest: bytes.subarray(at) };
  }

  /** Answers where the line ends. */
  private readLine(bytes: Buffer, from: number): number {
    const newline = bytes.indexOf(0x0a, from);
    const to = newline < 0 ? bytes.length : newline + 1;
    this.line += bytes.toString("latin1", from, to);
    if (this.line.length > unreadBytesMax) throw tooMuchUnread();
    if (newline < 0) return to;
    if (!this.line.endsWith("\r\n")) throw new BadRequest("a line of the body ends without CRLF");
    const line = this.line.slice(0, -2);
    this.line = "";
    this.takeLine(line);
    return to;
  }

  private takeLine(line: string): void {
    if (this.awaits === "size") {
      const size = sizeForm.exec(line)?.[1];
      if (size === undefined)
        throw new BadRequest("a chunk's size is not 1 to 8 hexadecimal digits");
      this.passOver(line.length - size.length);
      this.missingBytes = Number.parseInt(size, 16);
      this.awaits = this.missingBytes === 0 ? "trailer" : "data";
    } else if (this.awaits === "end of data") {
      if (line !== "") throw new BadRequest("a chunk is longer than its size");
      this.awaits = "size";
    } else if (line === "") this.isComplete = true;
    else if (isField(line)) this.passOver(line.length);
    else throw new BadRequest("a trailer is not NAME: VALUE");
  }

  private passOver(bytes: number): void {
    this.unreadBytesLeft -= bytes;
    if (this.unreadBytesLeft < 0) throw tooMuchUnread();
  }
}

function tooMuchUnread(): BadRequest {
  const message = `extensions and trailers of chunks have more than ${unreadBytesMax} bytes`;
  return new BadRequest(message, 431);
}
