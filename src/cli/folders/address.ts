// Tells a server's address from the path of a folder.

import { existsSync } from "node:fs";

/** Whether the text is `HOST:PORT` or a socket's path. An existing folder takes precedence. */
export function isAddress(text: string): boolean {
  return /^unix:.|^[^/\\]+:\d+$/.test(text) && !existsSync(text);
}
