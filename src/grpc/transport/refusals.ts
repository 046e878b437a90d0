// Logs connections that were refused or ended. Limits that keep other clients out are logged as
// warnings, at most once a minute; the rest at the level debug.

import type { Logger } from "../../logger.ts";

const everyMs = 60_000;
const loud: ReadonlySet<string> = new Set(["connectionsMax", "connectionsPerAddressMax"]);

/** Returns the function to call for each refusal. */
export function refusalLog(
  logger: Logger,
  nowMs: () => number,
): (reason: string, peer: string) => void {
  const told = new Map<string, { atMs: number; untold: number }>();
  return (reason, peer) => {
    logger.debug("a connection was refused or ended", { reason, peer });
    if (!loud.has(reason)) return;
    const last = told.get(reason);
    if (last !== undefined && nowMs() - last.atMs < everyMs) {
      last.untold++;
      return;
    }
    const sinceThen = last?.untold ?? 0;
    told.set(reason, { atMs: nowMs(), untold: 0 });
    const fields = { limit: reason, peer, refusedSinceLastReport: sinceThen + 1 };
    logger.warn("connections are refused: a limit is reached", fields);
  };
}
