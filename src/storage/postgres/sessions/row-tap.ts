// The rows that PostgreSQL sends, as bytes. The driver makes texts of them, which takes most of the
// time of a read and spoils binary values. So what arrives is looked through before the driver gets
// it: messages with a row (DataRow) or with a part of a COPY (CopyData) go to their query as they
// are, everything else goes to the driver.
//
// A message is a letter, its length in four bytes (with these four) and its content.

import type { EventEmitter } from "node:events";
import type { Readable } from "node:stream";

/** The driver's connection. It passes events on to the query that is being answered. */
export interface TappedConnection extends EventEmitter {
  readonly stream: Readable;
}

/** Where a message is: it is only there until the call returns. */
export interface Arrived {
  bytes: Buffer;
  at: number;
  end: number;
}

const headerBytes = 5;
const dataRow = 0x44;
const copyData = 0x64;
const nothing = Buffer.alloc(0);

/** Of a connection that is open: nothing may have been asked that is not answered yet. */
export function tapRows(connection: TappedConnection): void {
  const { stream } = connection;
  const toDriver = stream.listeners("data") as ((bytes: Buffer) => void)[];
  stream.removeAllListeners("data");
  const tap = new RowTap(connection, (bytes) => {
    for (const each of toDriver) each(bytes);
  });
  stream.on("data", (bytes: Buffer) => tap.take(bytes));
}

class RowTap {
  private readonly connection: TappedConnection;
  private readonly rest: (bytes: Buffer) => void;
  private readonly arrived: Arrived = { bytes: nothing, at: 0, end: 0 };
  /** The beginning of a message whose end has not come. */
  private parts: Buffer[] = [];
  private partBytes = 0;
  /** Of that message, as far as it is known. */
  private neededBytes = headerBytes;

  constructor(connection: TappedConnection, rest: (bytes: Buffer) => void) {
    this.connection = connection;
    this.rest = rest;
  }

  take(bytes: Buffer): void {
    if (this.parts.length === 0) return this.look(bytes);
    this.parts.push(bytes);
    this.partBytes += bytes.length;
    if (this.partBytes < this.neededBytes) return;
    const whole = Buffer.concat(this.parts.splice(0), this.partBytes);
    this.partBytes = 0;
    this.look(whole);
  }

  private look(bytes: Buffer): void {
    let at = 0;
    let looked = 0;
    this.neededBytes = headerBytes;
    while (at + headerBytes <= bytes.length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) {
        this.neededBytes = end - at;
        break;
      }
      const letter = bytes[at];
      if (letter === dataRow || letter === copyData) {
        if (at > looked) this.rest(bytes.subarray(looked, at));
        this.hand(letter === dataRow ? "dataRow" : "copyData", bytes, at + headerBytes, end);
        looked = end;
      }
      at = end;
    }
    if (at > looked) this.rest(bytes.subarray(looked, at));
    if (at === bytes.length) return;
    this.parts.push(bytes.subarray(at));
    this.partBytes = bytes.length - at;
  }

  private hand(name: "dataRow" | "copyData", bytes: Buffer, at: number, end: number): void {
    const { arrived } = this;
    arrived.bytes = bytes;
    arrived.at = at;
    arrived.end = end;
    this.connection.emit(name, arrived);
    arrived.bytes = nothing;
  }
}
