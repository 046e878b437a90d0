// Messages in the forms in which they are sent: in parts, so that bytes from the log are not
// copied, or behind their prefixes.

/** Before each message: whether it is compressed, and its length in four bytes. */
export const prefixBytes = 5;

/** Writes the prefix of a message that is not compressed. Returns where it ends. */
export function writePrefix(into: Buffer, at: number, length: number): number {
  into[at] = 0;
  return into.writeUInt32BE(length, at + 1);
}

/** Messages behind their prefixes, as copies. */
export function prefixed(messages: readonly Uint8Array[]): Buffer {
  let size = 0;
  for (const { length } of messages) size += prefixBytes + length;
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const message of messages) {
    at = writePrefix(bytes, at, message.length);
    bytes.set(message, at);
    at += message.length;
  }
  return bytes;
}

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
 * A message that can be made again, or several behind their prefixes, so that what a client does
 * not take need not be kept. A part of it may have been sent: what is made again must be the same
 * bytes.
 */
export class RepeatableMessage {
  readonly length: number;
  /** With what frames it. */
  readonly framedBytes: number;
  readonly source: MessageSource;
  private message: Message | PrefixedMessages | undefined;

  constructor(message: Message | PrefixedMessages, source: MessageSource) {
    this.length = message.length;
    this.framedBytes = framedBytes(message);
    this.source = source;
    this.message = message;
  }

  /** The bytes, until they are taken. */
  get present(): Message | PrefixedMessages {
    if (this.message === undefined) throw new Error("a message is taken once");
    return this.message;
  }

  /** The bytes, once: from then on they are not kept here. */
  take(): Message | PrefixedMessages {
    const message = this.present;
    this.message = undefined;
    return message;
  }
}

/** What a message is made of. */
export interface MessageSource {
  /** The client takes nothing for a while. */
  rest(): void;
  /** Undefined: there is no such message any more. */
  again(): Promise<Message | PrefixedMessages | undefined>;
}

/** The bytes of a message with what frames it. */
export function framedBytes(
  message: Uint8Array | Message | PrefixedMessages | RepeatableMessage,
): number {
  if (message instanceof RepeatableMessage) return message.framedBytes;
  return message instanceof PrefixedMessages ? message.length : message.length + prefixBytes;
}

/** An encoded message. */
export type Message = Buffer | MessageParts;
