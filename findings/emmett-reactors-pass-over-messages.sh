#!/usr/bin/env bash
# Two ways in which a reactor of Emmett passes over messages without a word: with the handler `eachBatch`,
# and where the application's own metadata has a member `checkpoint`.
#
# Versions: @event-driven-io/emmett 0.42.0 (npm), Node 20.20.
# Guess:    `eachBatch` is called with batches, as its type says; and the application's metadata does not
#           decide whether a message was handled.
# Seen:     `eachBatch` is accepted and never called, and the checkpoints of its messages are stored, so
#           that a new start does not bring them either. A message whose metadata has a `checkpoint` up to
#           the last position counts as handled.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund @event-driven-io/emmett@0.42.0

cat >run.mjs <<'END'
import { reactor } from "@event-driven-io/emmett";

const message = (number, metadata = {}) => {
  const place = { messageId: `${number}`, streamName: "s", streamPosition: BigInt(number) };
  const globalPosition = BigInt(number);
  return { kind: "Event", type: "T", data: { number }, metadata: { ...metadata, ...place, globalPosition } };
};
let stored = "none";
const checkpoints = {
  read: async () => ({ lastCheckpoint: null }),
  store: async ({ message }) => {
    stored = message.metadata.globalPosition;
    return { success: true, newCheckpoint: stored };
  },
};
async function run(handler, messages) {
  const seen = [];
  const processor = reactor({ processorId: "p", checkpoints, ...handler(seen) });
  await processor.start({});
  await processor.handle(messages, {});
  await processor.close({});
  return `${seen.length} of ${messages.length} handled, checkpoint ${stored}`;
}
const each = (seen) => ({ eachMessage: ({ data }) => void seen.push(data) });
const batch = (seen) => ({ eachBatch: (messages) => void seen.push(...messages) });
console.log("eachMessage:", await run(each, [message(8), message(9)]));
console.log("eachBatch:", await run(batch, [message(8), message(9)]));
console.log("metadata:", await run(each, [message(8), message(9, { checkpoint: 3 })]));
END
cat >expected <<'END'
eachMessage: 2 of 2 handled, checkpoint 9
eachBatch: 0 of 2 handled, checkpoint 9
metadata: 1 of 2 handled, checkpoint 8
END
node run.mjs >seen
diff expected seen
echo "as written"
