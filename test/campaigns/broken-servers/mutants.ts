// Servers that are broken on purpose, each by a small change of the shipped sources, and the
// scenario in which a campaign's checks must catch it. What other stores shipped by mistake is
// among them. Those that are wrong for a moment only stay there by `campaignHold`
// (support/broken-server.ts), which is there in every broken server.
import type { ScenarioName } from "./scenarios.ts";

export interface Edit {
  /** Under `src/`. */
  readonly file: string;
  /** Must be there exactly once. */
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  readonly scenario: ScenarioName;
  readonly edits: readonly Edit[];
}

function mutant(scenario: ScenarioName, file: string, find: string, replace: string): Mutant {
  return { scenario, edits: [{ file, find, replace }] };
}

const syncedWrite = "return batch.write({ sync: true } as object);";
const levelKv = "storage/leveldb/kv/level-kv.ts";
const engine = "storage/leveldb/write/engine.ts";
const decide = "domain/decide/decide.ts";
const subscribe = "log/subscribe/subscribe.ts";
const queue = "log/append/append-queue.ts";

/** What the checks before and after opening find is not listened to. */
const deafToFindings: readonly Edit[] = [
  {
    file: "storage/leveldb/checked-open.ts",
    find: "gate.weigh({ passing, lasting })",
    replace: "Promise.resolve(void { passing, lasting })",
  },
];

export const mutants: Readonly<Record<string, Mutant>> = {
  "never syncs": mutant(
    "power",
    levelKv,
    syncedWrite,
    "return batch.write({ sync: false } as object);",
  ),
  "answers before the write": mutant(
    "crash",
    levelKv,
    syncedWrite,
    `void campaignHold().then(() => batch.write({ sync: true } as object));
  return Promise.resolve();`,
  ),
  "shows what is not durable yet": {
    scenario: "crash",
    edits: [
      {
        file: engine,
        find: "  await guard.write(operations);\n",
        replace: `  const writing = campaignHold().then(() => guard.write(operations));\n`,
      },
      {
        file: engine,
        find: "watcher.advanced?.(advance);\n}",
        replace: "watcher.advanced?.(advance);\n  await writing;\n}",
      },
    ],
  },
  "writes a commit in two batches": {
    scenario: "crash",
    edits: [
      {
        file: levelKv,
        find: "      const batch = database.batch();\n",
        replace: `      const half = Math.ceil(operations.length / 2);
      const rest = half < operations.length ? operations.slice(half) : [];
      if (rest.length > 0) operations = operations.slice(0, half);
      const batch = database.batch();\n`,
      },
      {
        file: levelKv,
        find: syncedWrite,
        replace: `if (rest.length === 0) return batch.write({ sync: true } as object);
  return batch
    .write({ sync: true } as object)
    .then(campaignHold)
    .then(() => this.write(rest));`,
      },
    ],
  },
  "acknowledges a failed write": mutant(
    "failing",
    "storage/leveldb/write/write-guard.ts",
    '      throw new AnnalsError(\n        { reason: "OUTCOME_UNKNOWN" },',
    `      if (cause) return;
      throw new AnnalsError(
        { reason: "OUTCOME_UNKNOWN" },`,
  ),
  "goes on writing after a failed write": mutant(
    "failing",
    "storage/leveldb/write/write-guard.ts",
    '      this.setState("recovering");\n      this.recovery = this.recover();\n      throw',
    "      throw",
  ),
  "answers conflicts from what is not durable": mutant(
    "crash",
    queue,
    "      const { head: after } = facts;\n",
    `      const { head: after } = facts;
      let early = false;
      batch.forEach((waiting, i) => {
        const outcome = decision.outcomes[i];
        if (outcome?.kind !== "conflict") return;
        waiting.resolve({ outcome, head: facts.head.position });
        early ||= outcome.streams.some(({ stream, actualVersion }) => {
          return actualVersion > (facts.versions.get(stream) ?? 0);
        });
      });
      if (early) await campaignHold();\n`,
  ),
  "answers a group before its commit": mutant(
    "crash",
    queue,
    "      try {\n        // If nothing has to be stored",
    `      answer(decided, outcomes, after.position + events.length);
      await campaignHold();
      try {\n        // If nothing has to be stored`,
  ),
  "forgets what it stored under an id": mutant(
    "live",
    "storage/leveldb/read/facts.ts",
    "const values = await store.kv.getMany(keys);",
    "const values = keys.map(() => undefined as Uint8Array | undefined);",
  ),
  "never writes ids down": mutant(
    "live",
    "storage/leveldb/write/commit.ts",
    "for (const event of events) if (event.idFromClient) operations.push(idEntry(event));",
    "if (events.length === 0) operations.push(idEntry(events[0] as CommitEvent));",
  ),
  "stores an id twice that comes twice at once": mutant(
    "live",
    "domain/decide/overlay.ts",
    "if (event === undefined) return this.facts.events.get(id);",
    "if (id !== undefined) return this.facts.events.get(id);",
  ),
  "tells a retry other positions": mutant(
    "live",
    "domain/decide/overlay.ts",
    "firstPosition: events[0]?.position ?? 0,",
    "firstPosition: (events[0]?.position ?? 0) + (deduplicated ? 1 : 0),",
  ),
  "takes a later version for the expected one": mutant(
    "live",
    "domain/decide/decide-lifecycle.ts",
    "return version === expected.version;",
    "return version >= expected.version;",
  ),
  "decides without what its group has accepted": mutant(
    "live",
    decide,
    "    const actualVersion = overlay.version(stream);",
    '    const actualVersion = overlay["facts"].versions.get(stream) ?? 0;',
  ),
  "a condition does not see its own group": mutant(
    "live",
    decide,
    "const position = durableMatches[index] || overlay.match(condition);",
    "const position = durableMatches[index] ?? 0;",
  ),
  "a condition does not see the log": mutant(
    "live",
    "storage/leveldb/read/facts.ts",
    "if (after >= head) continue;",
    "if (after >= 0) continue;",
  ),
  "a condition ignores tags": mutant(
    "live",
    "domain/query.ts",
    "for (const tag of tags) if (!event.tags.includes(tag)) return false;",
    "",
  ),
  "leaves a gap between versions": mutant(
    "live",
    "domain/decide/overlay.ts",
    "this.version(stream) + 1;",
    "this.version(stream) + (this.events.length === 20 ? 2 : 1);",
  ),
  "lets time go back": mutant(
    "live",
    decide,
    "const recordedAt = Math.max(now, facts.head.recordedAt);",
    "const recordedAt = now - (facts.head.position % 2) * 5_000_000;",
  ),
  "bends a byte now and then": mutant(
    "live",
    "domain/record.ts",
    "  frame.set(body, offset);\n",
    `  frame.set(body, offset);
  if (position % 997 === 0) frame[offset + body.length - 1]! ^= 1;\n`,
  ),
  "passes over the event between catching up and live": mutant(
    "live",
    subscribe,
    "positions: { first, last: bound },",
    "positions: { first, last: this.isLive ? bound : bound - 1 },",
  ),
  "delivers the last event read twice": mutant(
    "live",
    subscribe,
    "let first = this.through + 1;",
    "let first = Math.max(1, this.through);",
  ),
  "delivers the last event with the next one": mutant(
    "live",
    "log/subscribe/interest.ts",
    "  look(): number {\n    this.isMarked = false;\n    this.interests.file(this);\n",
    `  look(): number {
    this.isMarked = false;
    this.interests.file(this);
    if (this.interests.headPosition > 50) return this.interests.headPosition - 1;\n`,
  ),
  "a checkpoint is ahead of the next event": mutant(
    "live",
    subscribe,
    "return { kind, position: this.through, time: this.source.clock() };",
    "return { kind, position: this.through + 1, time: this.source.clock() };",
  ),
  "takes the head for what was delivered": mutant(
    "live",
    "log/subscribe/interest.ts",
    "return this.isMarked ? this.quiet : this.interests.headPosition;",
    "return this.interests.headPosition;",
  ),
  "tells subscribers of a commit's first event only": mutant(
    "live",
    "log/subscribe/interest.ts",
    "events.forEach(this.tell);",
    "events.slice(0, 1).forEach(this.tell);",
  ),
  "drops what a slow subscriber cannot take": {
    scenario: "slow",
    edits: [
      {
        file: "grpc/transport/outgoing.ts",
        find: "    if (this.isEnded) return;\n    this.begin();\n",
        replace:
          "    if (this.isEnded || this.stream.unsentBytes >= 196_608) return;\n    this.begin();\n",
      },
      {
        file: "grpc/transport/outgoing.ts",
        find: "if (this.isEnded) return undefined;",
        replace: "if (this.isEnded || this.hasRoom || !this.hasRoom) return undefined;",
      },
    ],
  },
  "loses the event at which a backwards read is cut": mutant(
    "live",
    "storage/leveldb/read/batches.ts",
    "      if (!batch.fits(event.frame, 1)) {\n        yield batch.take();\n",
    `      if (!batch.fits(event.frame, 1)) {
        yield batch.take();
        if (read.direction === "backwards") continue;\n`,
  ),
  "loses the event a batch is cut at": mutant(
    "live",
    "storage/leveldb/read/batches.ts",
    "      if (!batch.fits(event.frame, 1)) {\n        yield batch.take();\n",
    `      if (!batch.fits(event.frame, 1)) {
        yield batch.take();
        if (read.direction === "forwards") continue;\n`,
  ),
  "reads backwards from one below the head": mutant(
    "live",
    "log/read/read.ts",
    "last: Math.min(last, head) }",
    'last: Math.min(last, direction === "backwards" ? head - 1 : head) }',
  ),
  "says after what a limit cut off": mutant(
    "live",
    "log/read/read.ts",
    "if (isCut && newest !== undefined) return { after: newest.position, streamVersion };",
    "",
  ),
  "answers reads from an old head": mutant(
    "live",
    "log/event-log.ts",
    "read(sourceOf(its), request, storage.head().position, signal),",
    "read(sourceOf(its), request, Math.max(0, storage.head().position - 3), signal),",
  ),
  "tells a stream's version of before": mutant(
    "live",
    "log/read/read.ts",
    "        ? newest.version\n",
    "        ? newest.version - 1\n",
  ),
  "saves snapshots beyond their stream": {
    scenario: "live",
    edits: [
      {
        file: "log/read/snapshots.ts",
        find: "  const record = await recordOfVersion(source, stream, version, view.head);\n",
        replace: `  const record =
    (await recordOfVersion(source, stream, version, view.head)) ??
    (await recordOfVersion(source, stream, view.version, view.head));\n`,
      },
      {
        file: decide,
        find: "  const isReached = version <= streamVersion || mayBeAhead === true;\n",
        replace: "  const isReached = true;\n",
      },
    ],
  },
  "acknowledges snapshots it has not written": mutant(
    "live",
    "log/read/snapshots.ts",
    "  const outcome = await source.propose(request, signal);\n",
    "  const outcome = { kind: request.kind } as unknown as SnapshotOutcome;\n",
  ),
  "forgets streams over a restart": mutant(
    "crash",
    "storage/leveldb/state/terms.ts",
    "const { keys, values } = await entriesOf(kv, terms);\n    const heads",
    "const { keys } = await entriesOf(kv, terms), values: undefined[] = [];\n    const heads",
  ),
  "takes its head from a stale entry": {
    scenario: "crash",
    edits: [
      {
        file: "storage/leveldb/state/open-store.ts",
        find: "  const [entry] = await kv.page({ first, last, reverse: true, limit: 1 });",
        replace:
          "  const [newest, entry = newest] = await kv.page({ first, last, reverse: true, limit: 2 });",
      },
    ],
  },
  "believes corrupted bytes": {
    scenario: "corrupted",
    edits: [
      ...deafToFindings,
      {
        file: "storage/leveldb/format/chunk.ts",
        find: "if (readUint32(value, 0) !== checksum(key, value.subarray(4))) {",
        replace: "if (readUint32(value, 0) === checksum(key, value.subarray(4)) + 1) {",
      },
      {
        file: "storage/leveldb/checked-open.ts",
        find: "if (damages.length === 0) return;",
        replace: "if (damages.length >= 0) return;",
      },
    ],
  },
  "serves what LevelDB makes of a corrupted log": { scenario: "corrupted", edits: deafToFindings },
};
