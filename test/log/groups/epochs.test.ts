// Groups and named consumers in a store that begins a new epoch after events were lost: what was
// settled beyond the shared positions were other events, and does not count.
import { describe, expect, test } from "vitest";
import { firstEpoch, type Epoch } from "../../../src/domain/epoch.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { newAppend, newEvent } from "../../support/events.ts";
import { openLog, settled } from "../harness.ts";

const settings = {
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 30_000,
  attemptsMax: 10,
  retryDelayMs: 1_000,
  retryDelayMaxMs: 60_000,
  inFlightMax: 100,
} as const;

/** A store of ten events, as far as `act` brought it; then with an epoch that began after `after`. */
async function afterLoss(
  after: number,
  act: (log: ReturnType<typeof openLog>["log"]) => Promise<unknown>,
): Promise<ModelStorage> {
  const storage = createModelStorage();
  const { log } = openLog({ storage });
  for (let i = 0; i < 10; i++) await log.append(newAppend([newEvent({ stream: "s" })]));
  await act(log);
  await log.stop();
  const { storeId } = storage.identity;
  const lost: Epoch = { id: "00000000000000aa", after, beganAt: 2, cause: "accepted-loss" };
  const history = [firstEpoch(storeId, 1), lost] as const;
  return { ...storage, identity: { ...storage.identity, history } };
}

describe("a group in a new epoch", () => {
  test("that was further than what the epochs share begins anew there", async () => {
    const storage = await afterLoss(6, (log) =>
      log.groups.create("g", settings, { kind: "after-position", position: 9 }),
    );
    const first = openLog({ storage });
    expect(await first.log.groups.get("g")).toMatchObject({ position: 6, lagEvents: 4 });
    await first.log.groups.reset("g", { kind: "end" });
    await first.log.stop();
    const again = openLog({ storage });
    const found = await again.log.groups.get("g");
    expect(found).toMatchObject({ position: 10, epoch: "00000000000000aa" });
    await again.log.stop();
  });

  test("that was not further goes on where it was", async () => {
    const storage = await afterLoss(6, (log) =>
      log.groups.create("g", settings, { kind: "after-position", position: 5 }),
    );
    const { log } = openLog({ storage });
    expect(await log.groups.get("g")).toMatchObject({ position: 5, lagEvents: 5 });
    await log.stop();
  });
});

describe("a named consumer in a new epoch", () => {
  test("has reached no more than what the epochs share, until it is saved again", async () => {
    const metadata = {};
    const storage = await afterLoss(6, (log) =>
      log.checkpoints.save({ update: { consumer: "c", position: 9, metadata }, reset: false }),
    );
    const { log, timers } = openLog({ storage });
    const { id } = storage.identity.history[0];
    expect(await log.checkpoints.get("c")).toMatchObject({ position: 9, epoch: id });
    expect(await log.checkpoints.waitFor("c", 6, 1_000)).toBe(6);
    const waiting = log.checkpoints.waitFor("c", 7, 1_000);
    waiting.catch(() => {});
    await settled();
    await timers.pass(1_001);
    await expect(waiting).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
    await log.checkpoints.save({ update: { consumer: "c", position: 8, metadata }, reset: true });
    expect(await log.checkpoints.waitFor("c", 7, 1_000)).toBe(8);
    await log.stop();
  });
});
