// What an event of the system about a stream says, as a sentence.

import { counted, durationText, grouped } from "./format.ts";
import { bytesOf } from "./payload.ts";

interface LifecyclePayload {
  readonly actor?: string;
  readonly reason?: string;
  readonly policy?: {
    readonly maxAgeMicros?: number;
    readonly maxCount?: number;
    readonly truncateBefore?: number;
  };
}

const ends: Readonly<Record<string, string>> = {
  $StreamDeleted: "deleted",
  $StreamTombstoned: "deleted for good",
};

/** Undefined: it is another event, or one of a later version of the server. */
export function lifecycleSentence(type: string, data: string): string | undefined {
  if (type !== "$StreamUpdated" && ends[type] === undefined) return undefined;
  try {
    const payload = JSON.parse(new TextDecoder().decode(bytesOf(data))) as LifecyclePayload;
    const { actor = "", reason = "" } = payload;
    const by = actor === "" ? "" : ` by ${actor}`;
    const why = reason === "" ? "" : `: ${reason}`;
    return `${ends[type] ?? policyText(payload)}${by}${why}`;
  } catch {
    return undefined;
  }
}

function policyText({ policy = {} }: LifecyclePayload): string {
  const { maxAgeMicros = 0, maxCount = 0, truncateBefore = 0 } = policy;
  const kept = [
    ...(maxAgeMicros > 0 ? [`those of the last ${durationText(maxAgeMicros / 1_000_000)}`] : []),
    ...(maxCount > 0 ? [`the newest ${counted(maxCount, "event")}`] : []),
    ...(truncateBefore > 0 ? [`versions from ${grouped(truncateBefore)} on`] : []),
  ];
  return kept.length === 0 ? "keeps all its events" : `keeps only ${kept.join(", ")}`;
}
