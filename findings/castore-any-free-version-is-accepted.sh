#!/usr/bin/env bash
# Castore's store in memory accepts any version that is free: a gap, one behind the newest, a negative one,
# a fraction. What comes late is folded last.
#
# Versions: @castore/core 2.4.2, @castore/event-storage-adapter-in-memory 2.4.2 (npm), Node 20.20.
# Guess:    an event's version must be the next one; that is what makes the optimistic check.
# Seen:     only a version that is taken is refused. Events are read in the order they were pushed, and the
#           aggregate's version is that of the last one pushed, not the highest. With `force` an event is
#           replaced. A writer that computes a version wrongly is not told.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  @castore/core@2.4.2 @castore/event-storage-adapter-in-memory@2.4.2

cat >run.mjs <<'END'
import { EventStore, EventType } from "@castore/core";
import { InMemoryEventStorageAdapter } from "@castore/event-storage-adapter-in-memory";

const store = new EventStore({
  eventStoreId: "STORE",
  eventTypes: [new EventType({ type: "T" })],
  eventStorageAdapter: new InMemoryEventStorageAdapter({}),
  reducer: (state, { aggregateId, version }) => ({
    aggregateId,
    version,
    folded: [...(state?.folded ?? []), version],
  }),
});
for (const version of [5, 2, 2, -1, 1.5]) {
  await store.pushEvent({ aggregateId: "a", version, type: "T" }).then(
    () => console.log(`push ${version}: accepted`),
    (error) => console.log(`push ${version}: ${error.code}`),
  );
}
const { aggregate } = await store.getAggregate("a");
console.log(`folded ${aggregate.folded.join(" ")}, version ${aggregate.version}`);
END
cat >expected <<'END'
push 5: accepted
push 2: accepted
push 2: EventAlreadyExistsError
push -1: accepted
push 1.5: accepted
folded 5 2 -1 1.5, version 1.5
END
node run.mjs >seen
diff expected seen
echo "as written"
