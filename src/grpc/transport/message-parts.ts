// A large message on its way out need not be in one piece: the connection takes what was read from
// the log as it is, and nothing is copied.

export class MessageParts {
  readonly parts: readonly Uint8Array[];
  /** Bytes of all pieces. */
  readonly length: number;

  constructor(parts: readonly Uint8Array[]) {
    let length = 0;
    for (const piece of parts) length += piece.length;
    this.parts = parts;
    this.length = length;
  }
}

/** An encoded message. */
export type Message = Buffer | MessageParts;

export function inOnePiece(message: Message): Buffer {
  return message instanceof MessageParts ? Buffer.concat(message.parts, message.length) : message;
}
