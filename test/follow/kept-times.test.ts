// A store whose events kept the times of another system (`--keep-times`) is followed: the copy has
// the same bytes and times, while the import runs and after the leader takes the present's times.
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { isoTime } from "../../src/cli/arguments/time.ts";
import { verifyFolder } from "../../src/storage/leveldb/offline/verify-folder.ts";
import { run } from "../cli/captured-terminal.ts";
import { copiedIn } from "../support/varied-history.ts";
import { caughtUp, servers, type Member } from "./servers.ts";

const { fresh, started } = servers("kept-times");
let made = 0;

const day = (n: number): string => `2021-03-${`${n}`.padStart(2, "0")}T10:00:00.000001Z`;
const idOf = (n: number): string => `0190a000-0000-7000-8000-${`${n}`.padStart(12, "0")}`;

/** Imports one event for each day, in three streams. */
async function imported(into: Member, days: readonly number[]): Promise<void> {
  const path = fresh("lines.ndjson");
  const lines = days.map((n) =>
    JSON.stringify({
      id: idOf(++made),
      stream: `order-${n % 3}`,
      type: "Placed",
      recordedAt: day(n),
      json: { n },
    }),
  );
  writeFileSync(path, `${lines.join("\n")}\n`);
  const address = ["--address", into.server.address];
  const { code, errors } = await run(["import", path, "--keep-times", ...address]);
  expect({ code, errors }).toMatchObject({ code: 0 });
}

async function timesIn({ clients }: Member): Promise<string[]> {
  const times: string[] = [];
  for await (const { message } of clients.store.read({})) {
    if (message.case !== "batch") continue;
    times.push(...message.value.events.map(({ recordedAt }) => isoTime(recordedAt)));
  }
  return times;
}

async function expectSame(follower: Member, leader: Member): Promise<void> {
  await caughtUp(follower, leader);
  expect(await timesIn(follower)).toEqual(await timesIn(leader));
}

test("a follower of a store with kept times is the same store, and is one when promoted", async () => {
  const [data, copy] = [fresh("leader"), fresh("copy")];
  const first = await started(["--data", data, "--keep-times"]);
  const port = first.server.address.split(":")[1] ?? "";
  await imported(first, [1, 2, 3]);
  const follower = await started(["--data", copy, "--follow", first.server.address]);
  await expectSame(follower, first);
  // What comes while it follows, equal times and ages included.
  await imported(first, [4, 4, 5]);
  const policy = { maxAge: { seconds: 86_400n } };
  const recordedAt = { seconds: BigInt(Date.parse(day(6)) / 1_000), nanos: 0 };
  await first.clients.streams.updateStream({ stream: "order-1", policy, recordedAt });
  await expectSame(follower, first);
  expect(await timesIn(follower)).toEqual([2, 3, 5].map(day));
  await first.stop();

  // The import is done: the same store, without --keep-times.
  const second = await started(["--data", data, "--port", port]);
  const events = [{ type: "Paid" }];
  await second.clients.store.append({ stream: "order-2", events });
  await expectSame(follower, second);
  const times = await timesIn(follower);
  expect(times.slice(0, -1)).toEqual([2, 3, 5].map(day));
  expect(Date.parse(times.at(-1) ?? "")).toBeGreaterThan(Date.parse(day(31)));
  const address = ["--address", follower.server.address];
  const between = await run(["read", ...address, "--to-time", day(4), "--json"]);
  expect(between.output.trim().split("\n")).toHaveLength(2);

  await second.stop();
  expect(await copiedIn(copy)).toEqual(await copiedIn(data));
  expect((await verifyFolder(copy)).findings).toEqual([]);
  expect(await run(["promote", follower.server.address])).toMatchObject({ code: 0 });
  await follower.server.again;
  await follower.stop();
  const promoted = await started(["--data", copy]);
  await promoted.clients.store.append({ stream: "order-2", events });
  expect((await timesIn(promoted)).slice(0, -1)).toEqual(times);
});
