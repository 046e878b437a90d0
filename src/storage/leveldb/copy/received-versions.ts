// Whether events that came have the versions that follow those of the copy, and ids that no event
// has.

import type { CommitEvent } from "../../../domain/event.ts";
import { CopyRefused } from "../../copy.ts";
import { idKey, TermKind } from "../format/keys.ts";
import type { ReadableKv } from "../kv/kv.ts";
import type { TermUpdate } from "../state/terms.ts";

/** `terms` are as of after the events. Throws CopyRefused. */
export function requireVersions(
  events: readonly CommitEvent[],
  terms: readonly TermUpdate[],
): void {
  const counts = new Map<string, number>();
  for (const { stream } of events) {
    if (stream !== "") counts.set(stream, (counts.get(stream) ?? 0) + 1);
  }
  const next = new Map<string, number>();
  for (const { kind, name, head } of terms) {
    if (kind === TermKind.stream) next.set(name, head.count - (counts.get(name) ?? 0) + 1);
  }
  for (const { stream, version, position } of events) {
    if (stream === "") continue;
    const expected = next.get(stream);
    if (version !== expected) {
      throw new CopyRefused(`position ${position} has version ${version}, not ${expected}`);
    }
    next.set(stream, version + 1);
  }
}

const keysAtOnceMax = 256;

/** Ids that clients chose are in the index, where each occurs once. Throws CopyRefused. */
export async function requireNewIds(kv: ReadableKv, events: readonly CommitEvent[]): Promise<void> {
  const chosen = events.filter(({ idFromClient }) => idFromClient);
  const known = new Set<string>();
  for (const { id, position } of chosen) {
    if (known.has(id)) throw taken(position);
    known.add(id);
  }
  for (let at = 0; at < chosen.length; at += keysAtOnceMax) {
    const some = chosen.slice(at, at + keysAtOnceMax);
    const found = await kv.getMany(some.map(({ id }) => idKey(id, 0)));
    const other = found.findIndex((value) => value !== undefined);
    if (other >= 0) throw taken((some[other] as CommitEvent).position);
  }
}

function taken(position: number): Error {
  return new CopyRefused(`position ${position} has an id that another event has`);
}
