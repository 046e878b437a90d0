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

/**
 * A message that can be made again, so that what a client does not take need not be kept. A part of
 * it may have been sent: what is made again must be the same bytes.
 */
export class RepeatableMessage {
  readonly length: number;
  readonly source: MessageSource;
  private message: Message | undefined;

  constructor(message: Message, source: MessageSource) {
    this.length = message.length;
    this.source = source;
    this.message = message;
  }

  /** The bytes, once: from then on they are not kept here. */
  take(): Message {
    const { message } = this;
    if (message === undefined) throw new Error("a message is taken once");
    this.message = undefined;
    return message;
  }
}

/** What a message is made of. */
export interface MessageSource {
  /** The client takes nothing for a while. */
  rest(): void;
  /** Undefined: there is no such message any more. */
  again(): Promise<Message | undefined>;
}

/** An encoded message. */
export type Message = Buffer | MessageParts;
