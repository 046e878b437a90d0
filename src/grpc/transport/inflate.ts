// Compressed messages, inflated piece by piece: a small message must not become a large one before
// anybody has looked.

import { createGunzip, createInflate } from "node:zlib";
import { StatusCode, StatusError } from "./status.ts";

/** What `grpc-encoding` may say, beside `identity`; `deflate` is the zlib format. */
export type Compression = "gzip" | "deflate";

/** `onPiece` hears of each piece; what it throws ends the inflating. */
export async function inflate(
  bytes: Buffer,
  compression: Compression,
  onPiece: (bytes: number) => void,
): Promise<Buffer> {
  const inflater = compression === "gzip" ? createGunzip() : createInflate();
  const pieces: Buffer[] = [];
  try {
    inflater.end(bytes);
    for await (const piece of inflater as AsyncIterable<Buffer>) {
      onPiece(piece.length);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code?.startsWith("Z_") !== true) throw error;
    throw new StatusError(StatusCode.INTERNAL, `a message that is not ${compression}`);
  }
}
