// A large message is sent in parts: the connection takes what was read from the log as it is, and
// nothing is copied.

export class MessageParts {
  readonly parts: readonly Uint8Array[];
  /** Bytes of all parts. */
  readonly length: number;

  constructor(parts: readonly Uint8Array[]) {
    let length = 0;
    for (const part of parts) length += part.length;
    this.parts = parts;
    this.length = length;
  }
}

/**
 * Several encoded messages that already have gRPC's prefix of five bytes each: answers of many
 * small messages are written in one piece.
 */
export class PrefixedMessages {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get length(): number {
    return this.bytes.length;
  }
}

/** An encoded message. */
export type Message = Buffer | MessageParts;
