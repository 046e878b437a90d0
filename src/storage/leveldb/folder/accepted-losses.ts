// Damage found in a store refuses the start, unless an operator accepts it with `--accept-loss` and
// the token in the refusal. The token is made from the findings, so that it accepts these and no
// later loss. Accepted losses are recorded permanently, one JSON line each:
//
//   <folder>/ACCEPTED-LOSSES   { acceptedAt, storeId, findings, lasting }

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { appendDurably } from "./durable-file.ts";
import { StoreRefused } from "./store-refused.ts";

export interface Findings {
  /**
   * Findings that are no longer found after LevelDB has opened its folder, because it drops what is
   * damaged.
   */
  readonly passing: readonly string[];
  /**
   * Findings that every start finds again. After they were accepted once, they are logged as
   * warnings.
   */
  readonly lasting: readonly string[];
}

export interface LossGate {
  /** The findings that were not accepted by an earlier start. Warns of the others. */
  fresh(lasting: readonly string[]): Promise<string[]>;
  /** Throws StoreRefused if there are findings that the operator has not accepted. */
  weigh(findings: Findings): Promise<void>;
  /** Records what was accepted. To be called when the store is served, which may still fail. */
  record(): Promise<void>;
}

export interface LossGateOptions {
  readonly folder: string;
  readonly storeId: string;
  /** The operator's token. */
  readonly acceptLoss: string | undefined;
  /** Called once, when a loss is accepted and before that is durable. */
  readonly accepting: () => Promise<void>;
  readonly warn: (message: string) => void;
}

/** The gate of one start. Findings that follow an accepted one are attributed to it and pass. */
export function lossGate(options: LossGateOptions): LossGate {
  const { folder, storeId, acceptLoss, warn } = options;
  const path = join(folder, "ACCEPTED-LOSSES");
  let accepting = false;
  let lines: string[] = [];
  const warned = new Set<string>();
  const fresh = async (lasting: readonly string[]): Promise<string[]> => {
    if (lasting.length === 0) return [];
    const known = await acceptedBefore(path, storeId);
    for (const finding of lasting) {
      if (!known.has(finding) || warned.has(finding)) continue;
      warned.add(finding);
      warn(`accepted earlier by the operator: ${finding}`);
    }
    return lasting.filter((finding) => !known.has(finding));
  };
  return {
    fresh,
    async weigh({ passing, lasting }) {
      const findings = [...passing, ...(await fresh(lasting))];
      if (findings.length === 0) return;
      const token = tokenOf(storeId, findings);
      if (!accepting && acceptLoss !== token) throw new StoreRefused(folder, findings, { token });
      if (!accepting) await options.accepting();
      accepting = true;
      for (const finding of findings) warn(`accepted by the operator: ${finding}`);
      const acceptedAt = new Date().toISOString();
      const stay = findings.filter((finding) => lasting.includes(finding));
      lines.push(`${JSON.stringify({ acceptedAt, storeId, findings, lasting: stay })}\n`);
    },
    async record() {
      if (lines.length > 0) await appendDurably(path, lines.join(""));
      lines = [];
    },
  };
}

function tokenOf(storeId: string, findings: readonly string[]): string {
  const hash = createHash("sha256").update([storeId, ...findings].join("\n"));
  return `loss-${hash.digest("hex").slice(0, 16)}`;
}

async function acceptedBefore(path: string, storeId: string): Promise<Set<string>> {
  const contents = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const accepted = new Set<string>();
  for (const line of contents.split("\n")) {
    for (const finding of lastingIn(line, storeId)) accepted.add(finding);
  }
  return accepted;
}

/** A line that cannot be parsed, or is about another store, accepts nothing. */
function lastingIn(line: string, storeId: string): readonly string[] {
  try {
    const { lasting, ...about } = JSON.parse(line) as { lasting?: unknown; storeId?: unknown };
    if (about.storeId !== storeId) return [];
    return Array.isArray(lasting) ? lasting.filter((each) => typeof each === "string") : [];
  } catch {
    return [];
  }
}
