// Servers whose consumer groups are broken on purpose; the campaign must find each of them.
import type { Edit } from "../broken-servers/mutants.ts";

const runner = "log/groups/runner.ts";
const settle = "domain/group/settle.ts";
const lanes = "domain/group/key-queues.ts";
const sideValues = "log/groups/side-values.ts";

export const groupMutants: Readonly<Record<string, { readonly edits: readonly Edit[] }>> = {
  "groups: answers acknowledgements before they are durable": {
    edits: [
      {
        file: runner,
        find: "    await parts.write([...own,",
        replace: `    const early = [...this.core.written()];
    for (const [id, tokens] of early) this.members.get(id)?.tellSettled(tokens);
    await campaignHold();
    await parts.write([...own,`,
      },
      {
        file: runner,
        find: "for (const [id, tokens] of this.core.written()) this",
        replace: "for (const [id, tokens] of [] as [number, number[]][]) this",
      },
    ],
  },
  "groups: forgets over a restart that events failed": {
    edits: [
      {
        file: "domain/group/state.ts",
        find: "    if (front.attempts > 0) state.carried.set(front.position, front);\n",
        replace: "",
      },
    ],
  },
  "groups: delivers the next of a key beside the one before": {
    edits: [
      {
        file: lanes,
        find: "if (next === undefined || lane.out.length > 0 || lane.isReady) return;",
        replace: "if (next === undefined || lane.isReady) return;",
      },
      {
        file: lanes,
        find: "if (next === undefined || lane.out.length > 0 || !this.holds(lane)) continue;",
        replace: "if (next === undefined || !this.holds(lane)) continue;",
      },
    ],
  },
  "groups: takes what a member lost for done": {
    edits: [
      {
        file: settle,
        find: "  again(state, delivery, { delayMs: 0, reason }, nowMs);\n",
        replace: "  forget(state, delivery);\n  state.lanes.review(lane, nowMs);\n",
      },
    ],
  },
  "groups: takes a refused event for done": {
    edits: [
      {
        file: settle,
        find: "  again(state, delivery, why, nowMs);\n",
        replace: "  forget(state, delivery);\n  state.lanes.review(delivery.lane, nowMs);\n",
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
        file: "domain/group/state.ts",
        find: "lane.knownThrough = front.position - 1;",
        replace: "lane.knownThrough = front.position;",
      },
    ],
  },
};
