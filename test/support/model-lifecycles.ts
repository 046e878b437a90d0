// Visibility in the plain model: lifecycles follow from the lifecycle events up to a position, and
// every event is judged on its own.
import { isGone, type Lifecycle } from "../../src/domain/lifecycle/lifecycle.ts";
import { lifecycleRecordOf, streamKeptIn } from "../../src/domain/lifecycle/lifecycle-event.ts";
import { recordsIn } from "../../src/domain/record.ts";
import type { JudgedEvent } from "../../src/storage/storage.ts";

interface LoggedEvent extends JudgedEvent {
  readonly frame: Uint8Array;
}

/** The lifecycles that follow from the first `asOf` events. */
export function lifecyclesIn(
  events: readonly LoggedEvent[],
  asOf = events.length,
): Map<string, Lifecycle> {
  const lifecycles = new Map<string, Lifecycle>();
  for (const { stream, frame } of events.slice(0, asOf)) {
    if (streamKeptIn(stream) === undefined) continue;
    const [record] = recordsIn(frame);
    const said = lifecycleRecordOf(record ?? new Uint8Array());
    lifecycles.set(said.stream, said.lifecycle);
  }
  return lifecycles;
}

/** Whether an event is not removed, as of the first `asOf` events and a time. */
export function visibilityOf(
  events: readonly LoggedEvent[],
  now: number,
  asOf = events.length,
): (event: JudgedEvent) => boolean {
  const lifecycles = lifecyclesIn(events, asOf);
  if (lifecycles.size === 0) return () => true;
  const versions = new Map<string, number>();
  for (const { stream, version } of events.slice(0, asOf)) versions.set(stream, version);
  return (event) => {
    const lifecycle = lifecycles.get(event.stream);
    if (lifecycle === undefined) return true;
    return !isGone(lifecycle, event, versions.get(event.stream) ?? 0, now);
  };
}
