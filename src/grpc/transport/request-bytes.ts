// The memory of a request while it comes.

interface TransferableBuffer {
  /** The same bytes and more; those of before are free at once, and not when they are collected. */
  transfer(length: number): ArrayBuffer;
}

/** `partial` has its own memory, and nobody else has seen it. */
export function grown(partial: Buffer, size: number): Buffer {
  if (partial.length === 0) return Buffer.allocUnsafeSlow(size);
  return Buffer.from((partial.buffer as unknown as TransferableBuffer).transfer(size));
}

/** A small message that waits must not keep all that was read with it. */
export function owned(message: Buffer): Buffer {
  const isMostOfIt = message.length * 2 >= message.buffer.byteLength;
  return isMostOfIt ? message : Buffer.from(message);
}
