// Compressed messages, inflated step by step: a small message must not become a large one before
// anybody has looked.

import { createGunzip, createInflate } from "node:zlib";
import { StatusCode, StatusError } from "./status.ts";

/** What `grpc-encoding` may say, beside `identity`; `deflate` is the zlib format. */
export type Compression = "gzip" | "deflate";

/** `onChunk` is called with the length of each chunk; an error it throws ends the inflating. */
export async function inflate(
  bytes: Buffer,
  compression: Compression,
  onChunk: (bytes: number) => void,
): Promise<Buffer> {
  const inflater = compression === "gzip" ? createGunzip() : createInflate();
  const chunks: Buffer[] = [];
  try {
    inflater.end(bytes);
    for await (const chunk of inflater as AsyncIterable<Buffer>) {
      onChunk(chunk.length);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code?.startsWith("Z_") !== true) throw error;
    throw new StatusError(StatusCode.INTERNAL, `a message that is not ${compression}`);
  }
}
