// The audit trail as a stream of the store: its entries become events, and its lifecycle removes
// those that are old enough. The policy is set with the first entry, so that a store without a
// trail has no event about one.

import type { AuditTrail } from "./access/audit.ts";
import { AnnalsError } from "./domain/errors.ts";
import { auditStream } from "./domain/event.ts";
import type { EventLog } from "./log/verbs.ts";

const microsPerDay = 24 * 60 * 60 * 1_000_000;

/** `keepDays` 0: entries are kept for ever. */
export function storeAuditTrail(audit: AuditTrail, log: EventLog, keepDays: number): void {
  const maxAge = keepDays === 0 ? undefined : keepDays * microsPerDay;
  let isLimited = false;
  audit.storeIn(async (events) => {
    if (!isLimited) await limitAge(log, maxAge);
    isLimited = true;
    const bytes = events.reduce((sum, { body }) => sum + body.length, 0);
    const append = { events, expectations: [], conditions: [], bytes };
    const { outcome } = await log.append(append);
    if (outcome.kind !== "appended") throw new Error(`the append is refused: ${outcome.kind}`);
  });
}

async function limitAge(log: EventLog, maxAge: number | undefined): Promise<void> {
  if ((await ageLimit(log)) === maxAge) return;
  const clear = maxAge === undefined ? (["maxAge"] as const) : [];
  await log.streams.update({
    stream: auditStream,
    expected: undefined,
    change: { maxAge, maxCount: undefined, truncateBefore: 0, labels: undefined, clear },
    actor: "annals",
    reason: "--audit-keep-days",
  });
}

async function ageLimit(log: EventLog): Promise<number | undefined> {
  try {
    return (await log.getStream(auditStream)).lifecycle?.policy.maxAge;
  } catch (error) {
    if (error instanceof AnnalsError && error.reason === "STREAM_NOT_FOUND") return undefined;
    throw error;
  }
}
