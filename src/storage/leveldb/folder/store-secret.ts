// The store's secret: what the server signs that clients hand back, such as page tokens. It lies
// beside the store and is part of no backup: a store that is restored begins with another one.
//
//   <folder>/SECRET   32 random bytes in hexadecimal, one line

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "./durable-file.ts";

const secretBytes = 32;
const wellFormed = new RegExp(`^[0-9a-f]{${secretBytes * 2}}\n$`);

/**
 * Made where it is missing or damaged: all that ends with it is what clients hold. If it cannot be
 * written either, it is good until the process ends.
 */
export async function storeSecret(
  folder: string,
  warn: (message: string, cause?: unknown) => void,
): Promise<Uint8Array> {
  const path = join(folder, "SECRET");
  const contents = await readFile(path, "latin1").catch(() => "");
  if (wellFormed.test(contents)) return Buffer.from(contents.trimEnd(), "hex");
  const secret = randomBytes(secretBytes);
  await writeDurably(path, `${secret.toString("hex")}\n`).catch((cause: unknown) => {
    warn("SECRET cannot be written: page tokens will end with this process", cause);
  });
  return secret;
}
