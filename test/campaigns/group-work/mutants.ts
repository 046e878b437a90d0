// Servers whose consumer groups are broken on purpose; the campaign must find each of them.
import type { Edit } from "../broken-servers/mutants.ts";

const runner = "log/groups/runner.ts";
const settle = "domain/group/settle.ts";
const queues = "domain/group/key-queues.ts";
const sideValues = "log/groups/side-values.ts";

export const groupMutants: Readonly<Record<string, { readonly edits: readonly Edit[] }>> = {
  "groups: answers acknowledgements before they are durable": {
    edits: [
      {
        file: runner,
        find: "    await parts.write([...own,",
        replace: `    const early = [...this.machine.written()];
    for (const [id, tokens] of early) this.members.get(id)?.tellSettled(tokens);
    await campaignHold();
    await parts.write([...own,`,
      },
      {
        file: runner,
        find: "for (const [id, tokens] of this.machine.written()) this",
        replace: "for (const [id, tokens] of [] as [number, number[]][]) this",
      },
    ],
  },
  "groups: forgets over a restart that events failed": {
    edits: [
      {
        file: queues,
        find: "    queue.loaded = first;\n",
        replace: "",
      },
    ],
  },
  "groups: delivers the next of a key beside the one before": {
    edits: [
      {
        file: queues,
        find: "if (next === undefined || queue.inFlight !== undefined || queue.isReady) return;",
        replace: "if (next === undefined || queue.isReady) return;",
      },
      {
        file: queues,
        find: "if (next === undefined || queue.inFlight !== undefined || !this.holds(queue)) continue;",
        replace: "if (next === undefined || !this.holds(queue)) continue;",
      },
    ],
  },
  "groups: takes what a member lost for done": {
    edits: [
      {
        file: settle,
        find: "  again(state, delivery.event, { delayMs: 0, reason }, nowMs);\n",
        replace: "  forget(state, delivery.event, nowMs);\n",
      },
    ],
  },
  "groups: takes a refused event for done": {
    edits: [
      {
        file: settle,
        find: "  again(state, delivery.event, why, nowMs);\n",
        replace: "  forget(state, delivery.event, nowMs);\n",
      },
    ],
  },
  "groups: does not write down what it parks": {
    edits: [
      { file: sideValues, find: "...parked.map((one)", replace: "...parked.slice(1).map((one)" },
    ],
  },
  "groups: loses its last write over a restart": {
    edits: [
      {
        file: sideValues,
        find: "      deltas.map(({ value }) => value),",
        replace: "      deltas.slice(0, -1).map(({ value }) => value),",
      },
    ],
  },
  "groups: begins behind the first event that is not settled": {
    edits: [
      {
        file: queues,
        find: "queue.knownThrough = first.position - 1;",
        replace: "queue.knownThrough = first.position;",
      },
    ],
  },
};
