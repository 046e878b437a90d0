// Every way to bend the files of a store once, numbered: each bit of each byte, each length to cut
// a file to, each sector of zeros, each file removed. Of the bytes between the two slots of the
// high-water mark, which nobody reads, one bit each.
import {
  closeSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

export interface StoreFile {
  readonly path: string;
  readonly bytes: number;
}

export interface Trial {
  readonly file: StoreFile;
  readonly fault:
    | { readonly kind: "flip"; readonly byte: number; readonly bit: number }
    | { readonly kind: "truncate"; readonly bytes: number }
    | { readonly kind: "zero"; readonly from: number }
    | { readonly kind: "remove" };
}

const sectorBytes = 512;

/** Between the slots of the file MARK (src/storage/leveldb/folder/high-water-mark.ts). */
const unused = { from: 68, to: 4_096 };

function flipsOf({ path, bytes }: StoreFile): number {
  return path === "MARK" ? bytes * 8 - (unused.to - unused.from) * 7 : bytes * 8;
}

function flipAt({ path }: StoreFile, number: number): { byte: number; bit: number } {
  if (path !== "MARK" || number < unused.from * 8) return { byte: number >> 3, bit: number & 7 };
  const byte = number - unused.from * 7;
  if (byte < unused.to) return { byte, bit: byte & 7 };
  const behind = number + (unused.to - unused.from) * 7;
  return { byte: behind >> 3, bit: behind & 7 };
}

function trialsOf(file: StoreFile): number {
  return flipsOf(file) + file.bytes + Math.ceil(file.bytes / sectorBytes) + 1;
}

export function countTrials(files: readonly StoreFile[]): number {
  return files.reduce((sum, file) => sum + trialsOf(file), 0);
}

export function trialAt(files: readonly StoreFile[], number: number): Trial {
  let rest = number;
  for (const file of files) {
    if (rest < trialsOf(file)) return { file, fault: faultAt(file, rest) };
    rest -= trialsOf(file);
  }
  throw new RangeError(`there is no trial ${number}`);
}

function faultAt(file: StoreFile, number: number): Trial["fault"] {
  const { bytes } = file;
  const flips = flipsOf(file);
  if (number < flips) return { kind: "flip", ...flipAt(file, number) };
  const cut = number - flips;
  if (cut < bytes) return { kind: "truncate", bytes: cut };
  const sector = cut - bytes;
  if (sector < Math.ceil(bytes / sectorBytes)) {
    return { kind: "zero", from: sector * sectorBytes };
  }
  return { kind: "remove" };
}

export function describeTrial({ file, fault }: Trial): string {
  switch (fault.kind) {
    case "flip":
      return `${file.path}: bit ${fault.bit} of byte ${fault.byte}`;
    case "truncate":
      return `${file.path}: cut to ${fault.bytes} bytes`;
    case "zero":
      return `${file.path}: zeros from byte ${fault.from}`;
    case "remove":
      return `${file.path}: removed`;
  }
}

/** Bends the file. False: the fault changes nothing, e.g. zeros over zeros. */
export function bend(folder: string, { file, fault }: Trial): boolean {
  const path = join(folder, file.path);
  if (fault.kind === "remove") rmSync(path);
  else if (fault.kind === "truncate") truncateSync(path, fault.bytes);
  else {
    const [from, to] =
      fault.kind === "flip"
        ? [fault.byte, fault.byte + 1]
        : [fault.from, Math.min(fault.from + sectorBytes, file.bytes)];
    const fd = openSync(path, "r+");
    try {
      const bytes = Buffer.alloc(to - from);
      readSync(fd, bytes, 0, bytes.length, from);
      const before = Buffer.from(bytes);
      if (fault.kind === "flip") bytes[0] = (bytes[0] as number) ^ (1 << fault.bit);
      else bytes.fill(0);
      if (before.equals(bytes)) return false;
      writeSync(fd, bytes, 0, bytes.length, from);
    } finally {
      closeSync(fd);
    }
  }
  return true;
}

/** Puts one file back as it was, over whatever stands there. */
export function mend(pristine: ReadonlyMap<string, Buffer>, folder: string, trial: Trial): void {
  const { path } = trial.file;
  writeFileSync(join(folder, path), pristine.get(path) as Buffer);
}
