// What may go wrong in a run, by name, and how a run's plan is drawn. The names are the failpoints
// that the campaign counts.
import type { PlannedFault, World } from "./world.ts";

export const crashPoints = {
  suddenly: "crash: at any moment",
  points: [
    "crash: before the write",
    "crash: written, not synced",
    "crash: synced, not answered",
    "crash: opening, before the log is replayed",
    "crash: opening, after the log was replayed",
    "crash: closing, before the log is moved into tables",
    "crash: closing, after the log was moved into tables",
  ],
} as const;

const faults = [
  "a crash tears the write",
  "a write fails",
  "a sync fails",
  "a read fails",
  "a bit flips on reading",
  "the database does not open",
  "the mark cannot be written",
  "the disk is full",
  "a bit of the log flips",
  "clock jumps back",
  "clock jumps ahead",
] as const;

/** How late in a run a point may be chosen: some are passed a hundred times, some once or twice. */
const nthMax: Readonly<Record<string, number>> = {
  "a read fails": 60,
  "a bit flips on reading": 80,
  "the mark cannot be written": 10,
  "the disk is full": 12,
  "clock jumps back": 30,
  "clock jumps ahead": 30,
  "the database does not open": 3,
  "a bit of the log flips": 2,
  "crash: opening, before the log is replayed": 3,
  "crash: opening, after the log was replayed": 3,
  "crash: closing, before the log is moved into tables": 1,
  "crash: closing, after the log was moved into tables": 1,
};

/** What else is counted: it follows from crashes. */
const consequences = [
  "kill",
  "power cut",
  "the mark falls back",
  "an unsynced write is lost",
  "an unsynced write is torn",
  "unsynced sectors are reordered",
] as const;

export const failpoints: readonly string[] = [
  crashPoints.suddenly,
  ...crashPoints.points,
  ...faults,
  ...consequences,
];

export function drawPlan(world: World): PlannedFault[] {
  const count = world.below(6);
  const chosen = new Set<string>();
  for (let i = 0; i < count; i++) {
    chosen.add(world.pick(world.chance(0.4) ? crashPoints.points : faults));
  }
  // Many values are read, and few of them by a caller who would show what became of them.
  if (world.chance(0.15)) chosen.add("a bit flips on reading");
  return [...chosen].map((point) => {
    const nth = 1 + world.below(nthMax[point] ?? 10);
    // Once, a few times, or as good as for ever.
    const times = point.startsWith("crash") ? 1 : world.pick([1, 1, 1, 3, 12]);
    return { point, nth, times };
  });
}
