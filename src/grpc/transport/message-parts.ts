// A large message in parts, so that bytes from the log are sent without being copied.

export class MessageParts {
  readonly parts: readonly Uint8Array[];
  /** The bytes of all parts together. */
  readonly length: number;

  constructor(parts: readonly Uint8Array[]) {
    let length = 0;
    for (const part of parts) length += part.length;
    this.parts = parts;
    this.length = length;
  }
}

/**
 * Several encoded messages, each of which already has gRPC's prefix of five bytes. Handlers with
 * many small answers write them in one piece.
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
