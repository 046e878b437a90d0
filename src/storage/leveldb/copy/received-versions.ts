// Whether events that came have the versions that follow those of the copy.

import type { CommitEvent } from "../../../domain/event.ts";
import { CopyRefused } from "../../copy.ts";
import { TermKind } from "../format/keys.ts";
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
