// Inflates compressed messages chunk by chunk, so that the limit and the budget stop a small
// message that becomes a large one.

import { createGunzip, createInflate } from "node:zlib";
import { StatusCode, StatusError } from "./status.ts";

/** Values of `grpc-encoding` besides `identity`. `deflate` is the zlib format. */
export type Compression = "gzip" | "deflate";

/** Each is a trip to the thread pool and back. */
export const chunkBytes = 64 * 1024;

/** Calls `onChunk` with the length of each chunk. If it throws, the promise rejects with that. */
export async function inflate(
  bytes: Buffer,
  compression: Compression,
  onChunk: (bytes: number) => void,
): Promise<Buffer> {
  const options = { chunkSize: chunkBytes };
  const inflater = compression === "gzip" ? createGunzip(options) : createInflate(options);
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
