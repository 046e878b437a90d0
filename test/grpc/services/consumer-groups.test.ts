// Consumer groups as a client meets them: over a real connection, every call, every refusal by name.
import { describe, expect, test } from "vitest";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { Consumer, shortly } from "./group-consumer.ts";
import {
  calls,
  events,
  fieldsOf,
  fresh,
  get,
  groupOver,
  query,
  seconds,
  useServer,
} from "./group-server.ts";

const groups = ConsumerGroupService.method;
const { waitFor } = CheckpointService.method;

useServer();

describe("a group", () => {
  test("is created with every default, and answered in numbers", async () => {
    const name = fresh();
    const { group } = await calls().unary(groups.createGroup, { name });
    expect(group).toMatchObject({
      name,
      position: expect.any(BigInt),
      memberCount: 0,
      inFlightCount: 0,
      parkedCount: 0n,
      oldestInFlightPosition: 0n,
      settings: {
        query: { items: [] },
        ordering: { key: { case: "stream" } },
        lease: { seconds: 30n },
        attemptsMax: 10,
        retryDelay: { seconds: 1n },
        retryDelayMax: { seconds: 60n },
        inFlightMax: 10_000,
      },
    });
    expect(Number(group?.createdAt?.seconds)).toBeGreaterThan(1_700_000_000);
  });

  test("created again is the same, or refused as another one", async () => {
    const name = fresh();
    const settings = {
      query: query(name),
      ordering: { key: { case: "tagPrefix", value: "customer:" } } as const,
      lease: { nanos: 100_000_000 },
      attemptsMax: 1_000,
      retryDelay: seconds(0),
      retryDelayMax: seconds(24 * 3_600),
      inFlightMax: 100_000,
    };
    const { group } = await calls().unary(groups.createGroup, { name, settings });
    expect(group?.settings).toMatchObject(settings);
    await calls().unary(groups.createGroup, { name, settings });
    const other = { name, settings: { ...settings, attemptsMax: 3 } };
    expect(await calls().failure(groups.createGroup, other)).toMatchObject({
      code: 6,
      reason: "GROUP_EXISTS",
      info: { group: name },
    });
    const start = { start: { case: "fromEnd", value: {} } } as const;
    expect(await calls().failure(groups.createGroup, { name, settings, start })).toMatchObject({
      code: 6,
    });
  });

  test.each([
    [{ name: "" }, "name"],
    [{ name: "$own" }, "name"],
    [{ name: "a\n" }, "name"],
    [{ name: "é".repeat(129) }, "name"],
    [{ settings: { lease: { nanos: 99_000_000 } } }, "settings.lease"],
    [{ settings: { lease: seconds(12 * 3_600 + 1) } }, "settings.lease"],
    [{ settings: { attemptsMax: 1_001 } }, "settings.attempts_max"],
    [{ settings: { retryDelay: seconds(-1) } }, "settings.retry_delay"],
    [{ settings: { retryDelay: seconds(24 * 3_600 + 1) } }, "settings.retry_delay"],
    [
      { settings: { retryDelay: seconds(9), retryDelayMax: seconds(8) } },
      "settings.retry_delay_max",
    ],
    [{ settings: { inFlightMax: 100_001 } }, "settings.in_flight_max"],
    [
      { settings: { ordering: { key: { case: "tagPrefix", value: "" } } as const } },
      "settings.ordering.tag_prefix",
    ],
    [{ settings: { query: { items: [{ types: [""] }] } } }, "settings.query.items[0].types[0]"],
    [
      { start: { start: { case: "afterPosition", value: 2n ** 53n } as const } },
      "start.after_position",
    ],
    [
      { start: { start: { case: "fromTime", value: { nanos: -1 } } as const } },
      "start.from_time.nanos",
    ],
  ])("of %o is refused by field", async (request, field) => {
    const failure = await calls().failure(groups.createGroup, { name: fresh(), ...request });
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(fieldsOf(failure)).toEqual([field]);
  });

  test("with a long first delay has a longest one to go with it", async () => {
    const name = fresh();
    const settings = { retryDelay: seconds(300) };
    const { group } = await calls().unary(groups.createGroup, { name, settings });
    expect(group?.settings?.retryDelayMax).toMatchObject({ seconds: 300n });
  });

  test("begins after a position, at a time, or at the end", async () => {
    const name = fresh();
    const first = await events(name, "abc");
    const at = { settings: { query: query(name) } };
    const lagFrom = async (start: object) => {
      const own = fresh();
      await calls().unary(groups.createGroup, { name: own, ...at, start });
      return (await get(own)).lagEvents;
    };
    const after = { case: "afterPosition", value: BigInt(first) };
    expect(await lagFrom({ start: after })).toBe(2n);
    expect(await lagFrom({ start: { case: "fromTime", value: seconds(0) } })).toBe(3n);
    expect(await lagFrom({ start: { case: "fromTime", value: seconds(9_999_999_999) } })).toBe(0n);
    expect(await lagFrom({ start: { case: "fromEnd", value: {} } })).toBe(0n);
    const beyond = { start: { case: "afterPosition", value: 1_000_000n } as const };
    const created = await calls().failure(groups.createGroup, {
      name: fresh(),
      start: beyond,
    });
    const info = { field: "start.after_position", asked: "1000000" };
    expect(created).toMatchObject({ code: 11, reason: "BEYOND_HEAD", info });
  });

  test("that is not there is not found by any call, and deleting it is no error", async () => {
    const name = fresh();
    const missing = { code: 5, reason: "GROUP_NOT_FOUND", info: { group: name } };
    const failures = [
      calls().failure(groups.getGroup, { name }),
      calls().failure(groups.updateGroup, { name }),
      calls().failure(groups.resetGroup, { name }),
      calls().failure(groups.listParked, { group: name }),
      calls().failure(groups.replayParked, { group: name }),
      calls().failure(groups.discardParked, { group: name, positions: [1n] }),
      calls().failure(waitFor, { who: { case: "group", value: name } }),
      Consumer.join(calls(), name).ended,
    ];
    for (const failure of await Promise.all(failures)) expect(failure).toMatchObject(missing);
    const deleted = await calls().unary(groups.deleteGroup, { name });
    expect(deleted.deleted).toBe(false);
  });

  test("is refused by every call where its name cannot be one", async () => {
    const name = "$x";
    const failures = [
      calls().failure(groups.getGroup, { name }),
      calls().failure(groups.updateGroup, { name }),
      calls().failure(groups.deleteGroup, { name }),
      calls().failure(groups.resetGroup, { name }),
      calls().failure(groups.listParked, { group: name }),
      calls().failure(groups.replayParked, { group: name }),
      calls().failure(groups.discardParked, { group: name }),
    ];
    for (const failure of await Promise.all(failures)) {
      expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    }
  });

  test("is listed with the others page by page", async () => {
    const all = ["list-a", "list-b", "list-c", "list-é"];
    for (const name of all) await groupOver(name, "xy");
    const listed: string[] = [];
    let pageToken = "";
    do {
      const request = { prefix: "list-", pageSize: 3, pageToken };
      const page = await calls().unary(groups.listGroups, request);
      for (const group of page.groups) {
        listed.push(group.name);
        expect(group).toMatchObject({ lagEvents: 2n, lag: expect.anything(), members: [] });
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(listed).toEqual(all);
    const damaged = await calls().failure(groups.listGroups, { pageToken: "damaged" });
    expect(fieldsOf(damaged)).toEqual(["page_token"]);
    const long = await calls().failure(groups.listGroups, { prefix: "p".repeat(257) });
    expect(fieldsOf(long)).toEqual(["prefix"]);
  });

  test("is updated while it runs, in what the request names", async () => {
    const name = fresh();
    await groupOver(name, "", { retryDelay: seconds(2) });
    const changes = { lease: seconds(5), attemptsMax: 3, inFlightMax: 7 };
    const { group } = await calls().unary(groups.updateGroup, { name, ...changes });
    const kept = { query: query(name), retryDelay: seconds(2), retryDelayMax: seconds(60) };
    expect(group?.settings).toMatchObject({ ...kept, ...changes });
    const delays = { retryDelay: seconds(0), retryDelayMax: seconds(1) };
    const again = await calls().unary(groups.updateGroup, { name, ...delays });
    expect(again.group?.settings).toMatchObject({ ...changes, ...delays });
    const same = await calls().unary(groups.updateGroup, { name });
    expect(same.group?.settings).toEqual(again.group?.settings);
  });

  test.each([
    [{ lease: { nanos: 99_000_000 } }, "lease"],
    [{ attemptsMax: 1_001 }, "attempts_max"],
    [{ retryDelay: seconds(-1) }, "retry_delay"],
    [{ retryDelay: seconds(9), retryDelayMax: seconds(8) }, "retry_delay_max"],
    [{ retryDelayMax: { nanos: 1 } }, "retry_delay_max"],
    [{ inFlightMax: 100_001 }, "in_flight_max"],
  ])("updated to %o is refused by field", async (changes, field) => {
    const name = fresh();
    await groupOver(name, "");
    const failure = await calls().failure(groups.updateGroup, { name, ...changes });
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(fieldsOf(failure)).toEqual([field]);
  });

  test("with another query begins where the first one is, beside it or in its place", async () => {
    const [name, other, last] = [fresh(), fresh(), fresh()];
    const first = await groupOver(name, "ab");
    await events(other, "c");
    const worker = Consumer.join(calls(), name);
    const [one] = await worker.next(2);
    if (one === undefined) return expect.unreachable();
    worker.ack(one);
    await worker.until(() => worker.settled.length === 1);
    const settings = { query: { items: [{ types: [name, other] }] } };
    const start = { start: { case: "afterGroup", value: name } } as const;
    const beside = await calls().unary(groups.createGroup, { name: other, settings, start });
    expect(beside.group).toMatchObject({ position: BigInt(first), lagEvents: 2n });
    const request = { name: last, settings, start, replace: true };
    const instead = await calls().unary(groups.createGroup, request);
    expect(instead.group).toMatchObject({ position: BigInt(first), lagEvents: 2n });
    const ended = { code: 5, reason: "GROUP_NOT_FOUND", info: { group: name } };
    expect(await worker.ended).toMatchObject(ended);
    expect(await calls().failure(groups.getGroup, { name })).toMatchObject(ended);
    const retried = await calls().unary(groups.createGroup, request);
    expect(retried.group?.createdAt).toEqual(instead.group?.createdAt);
    const next = Consumer.join(calls(), last);
    expect(shortly(await next.next(2))).toEqual([`${first + 1}`, `${first + 2}`]);
    const own = { name: last, start: { start: { case: "afterGroup", value: last } as const } };
    await calls().unary(groups.createGroup, { ...own, replace: true });
    expect(await next.ended).toMatchObject({ code: 14, reason: "RECOVERING" });
  });

  test.each([
    [{ replace: true }, "replace"],
    [{ replace: true, start: { start: { case: "fromEnd", value: {} } as const } }, "replace"],
    [{ start: { start: { case: "afterGroup", value: "" } as const } }, "start.after_group"],
    [{ start: { start: { case: "afterGroup", value: "$g" } as const } }, "start.after_group"],
  ])("that is to begin by %o is refused by field", async (request, field) => {
    const failure = await calls().failure(groups.createGroup, { name: fresh(), ...request });
    expect(failure).toMatchObject({ code: 3, reason: "INVALID_FIELD" });
    expect(fieldsOf(failure)).toEqual([field]);
  });
});
