// Writes tar archives (ustar) whose bytes follow from their entries alone: in the order given, with
// one time, and with owners by number.
import { readFileSync } from "node:fs";

const blockBytes = 512;

/** Bytes of a zero-terminated or zero-filled field. */
function put(header, text, at, length) {
  if (Buffer.byteLength(text) > length) throw new Error(`tar: too long: ${text}`);
  header.write(text, at, "utf8");
}

function octal(value, length) {
  return `${value.toString(8).padStart(length - 1, "0")}\0`;
}

/** A path of more than 100 bytes is split at a slash: ustar has 155 bytes for the folders. */
function split(path) {
  if (Buffer.byteLength(path) <= 100) return ["", path];
  const at = path.lastIndexOf("/", 155);
  if (at < 0) throw new Error(`tar: too long: ${path}`);
  return [path.slice(0, at), path.slice(at + 1)];
}

function headerOf({ path, type, mode, size, link, owner }, mtime) {
  const header = Buffer.alloc(blockBytes);
  const [prefix, name] = split(path);
  put(header, name, 0, 100);
  put(header, octal(mode, 8), 100, 8);
  put(header, octal(owner, 8), 108, 8);
  put(header, octal(owner, 8), 116, 8);
  put(header, octal(size, 12), 124, 12);
  put(header, octal(mtime, 12), 136, 12);
  header.fill(" ", 148, 156);
  put(header, { file: "0", link: "2", folder: "5" }[type], 156, 1);
  put(header, link, 157, 100);
  put(header, "ustar\x0000", 257, 8);
  put(header, prefix, 345, 155);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(header, `${sum.toString(8).padStart(6, "0")}\0 `, 148, 8);
  return header;
}

/**
 * `entries`: `{ path, data }` or `{ path, from }` (a file's bytes, or those of the file there),
 * `{ path, link }`, or `{ path }` (a folder), each with an optional `mode` and `owner`.
 */
export function tar(entries, mtime) {
  const parts = entries.flatMap(({ path, data, from, link, mode, owner = 0 }) => {
    const bytes = from === undefined ? data : readFileSync(from);
    if (bytes !== undefined) {
      const content = Buffer.from(bytes);
      const entry = { path, type: "file", mode: mode ?? 0o644, size: content.length, link: "" };
      const padding = Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes);
      return [headerOf({ ...entry, owner }, mtime), content, padding];
    }
    const type = link === undefined ? "folder" : "link";
    const named = type === "folder" ? `${path}/` : path;
    const entry = { path: named, type, mode: mode ?? (type === "link" ? 0o777 : 0o755), size: 0 };
    return [headerOf({ ...entry, link: link ?? "", owner }, mtime)];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * blockBytes)]);
}
