// Loads LevelDB's native addon in the single executable, in place of what `classic-level` does.
// Node cannot load it from memory. The copy beside the executable is used if it is the same, byte
// for byte; else the addon is written into a fresh folder that only this user can open, and removed
// as soon as it is loaded.
"use strict";
const { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { dirname, join } = require("node:path");
const { getRawAsset } = require("node:sea");

const name = "classic-level.node";
const addon = Buffer.from(getRawAsset(name));

function load(file) {
  const loaded = { exports: {} };
  process.dlopen(loaded, file);
  return loaded.exports;
}

function besideExecutable() {
  try {
    const file = join(dirname(realpathSync(process.execPath)), name);
    return readFileSync(file).equals(addon) ? file : undefined;
  } catch {
    return undefined;
  }
}

function loadFromTemporaryFolder() {
  let folder;
  try {
    folder = mkdtempSync(join(tmpdir(), "annals-"));
    const file = join(folder, name);
    writeFileSync(file, addon, { flag: "wx", mode: 0o500 });
    return load(file);
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

function loadAddon() {
  const beside = besideExecutable();
  if (beside !== undefined) return load(beside);
  try {
    return loadFromTemporaryFolder();
  } catch (error) {
    const remedy =
      `put ${name} beside ${process.execPath}, ` +
      "or set TMPDIR to a folder that can be written to and is not mounted noexec";
    process.stderr.write(`annals: LevelDB's addon cannot be loaded: ${error.message}\n${remedy}\n`);
    return process.exit(1);
  }
}

module.exports = loadAddon();
