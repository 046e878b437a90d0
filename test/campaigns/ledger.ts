// The evidence files: one line for each long run, committed, so that every claim can be repeated.
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import type { CampaignResult } from "./campaign.ts";

const folder = new URL("../../evidence/", import.meta.url).pathname;

export interface Run {
  readonly campaign: string;
  readonly seed: number;
  readonly seconds: number;
  readonly result: CampaignResult;
}

/** Appends the run to `evidence/<campaign>.jsonl` and returns the line. */
export function record({ campaign, seed, seconds, result }: Run): string {
  const { cycles, events, violations, control, detail } = result;
  // git is run in this folder.
  mkdirSync(folder, { recursive: true });
  const line = JSON.stringify({
    campaign,
    commit: git("rev-parse", "HEAD"),
    dirty: git("status", "--porcelain", "--", "src", "test", "package-lock.json") !== "",
    seed,
    cycles,
    events,
    violations: violations.length,
    control,
    seconds: Math.round(seconds),
    node: process.version,
    date: new Date().toISOString(),
    detail,
  });
  const told = withoutPaths(line);
  appendFileSync(`${folder}${campaign}.jsonl`, `${told}\n`);
  return told;
}

/** The folders of a run mean nothing elsewhere. */
function withoutPaths(line: string): string {
  return line.replaceAll(/[^\s"']+/g, (word) => (word.startsWith(tmpdir()) ? "FOLDER" : word));
}

function git(...args: readonly string[]): string {
  return execFileSync("git", args, { encoding: "utf8", cwd: folder }).trim();
}
