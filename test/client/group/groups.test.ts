// Consumer groups and checkpoints by the SDK: created, changed, listed, replaced.
import { describe, expect, test } from "vitest";
import { collect } from "../../support/calls.ts";
import { client, fresh, groupOver, membership, useClient } from "./group-client.ts";

useClient();

describe("groups", () => {
  test("are created, found, changed, listed and reset", async () => {
    const name = fresh();
    const settings = {
      query: [{ types: ["A"], tags: ["t"] }, { streamPrefixes: ["s-"] }],
      ordering: { tagPrefix: "customer:" },
      leaseMs: 1_500,
      attemptsMax: 3,
      retryDelayMs: 20,
      retryDelayMaxMs: 5_000,
      inFlightMax: 50,
    } as const;
    const created = await client.groups.create(name, { ...settings, after: 0 });
    expect(created).toMatchObject({ name, settings, memberCount: 0, parkedCount: 0, members: [] });
    expect((await client.groups.create(name, settings)).createdAt).toEqual(created.createdAt);
    await expect(client.groups.create(name, { after: "end" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "GROUP_EXISTS",
    });
    const updated = await client.groups.update(name, { attemptsMax: 4, retryDelayMs: 0 });
    expect(updated.settings).toEqual({ ...created.settings, attemptsMax: 4, retryDelayMs: 0 });
    const fixed = { leaseMs: 500, query: { types: ["B"] } };
    // @ts-expect-error The types refuse it.
    await expect(client.groups.update(name, fixed)).rejects.toThrow("query is fixed");
    const listed = await collect(client.groups.list({ prefix: name }));
    expect(listed).toMatchObject([{ name, settings: updated.settings }]);
    for (const data of [1, 2, 3]) await client.append("s-1", { type: name, data });
    const { lagEvents } = await client.groups.reset(name, { fromTime: new Date(0) });
    expect(lagEvents).toBeGreaterThan(2);
    expect((await client.groups.reset(name, { after: "end" })).lagEvents).toBe(0);
    await expect(client.groups.reset(name, { after: 1_000_000 })).rejects.toMatchObject({
      code: "BEYOND_HEAD",
    });
    await expect(client.groups.create(name, { after: 0, fromTime: new Date() })).rejects.toThrow(
      "is one of `after`, `fromTime` and `afterGroup`",
    );
    expect(await client.groups.get("nobody")).toBeUndefined();
  });

  test("begin where another one is, beside it or in its place", async () => {
    const name = fresh();
    await groupOver(name, "ab");
    const first = membership(name, { permits: 1 });
    await (await first()).ack();
    await first();
    const query = { streamPrefixes: [`${name}-b`] };
    const beside = await client.groups.create(`${name}-b`, { query, afterGroup: name });
    expect(beside).toMatchObject({ lagEvents: 1, settings: { query: [query] } });
    const ended = first().then(
      () => undefined,
      (error: { code: string }) => error.code,
    );
    const instead = { query, afterGroup: name, replace: true };
    await client.groups.create(`${name}-c`, instead);
    expect(await ended).toBe("NOT_FOUND");
    await client.groups.create(`${name}-c`, instead);
    expect(await client.groups.get(name)).toBeUndefined();
    await expect(client.groups.create(fresh(), { replace: true })).rejects.toThrow("replace");
  });

  test("of the same name in its place go on with the same workers", async () => {
    const name = fresh();
    await groupOver(name, "");
    const next = membership(name);
    const delivered = next();
    const query = { streamPrefixes: [`${name}-`] };
    await client.groups.create(name, { query, afterGroup: name, replace: true });
    await client.append(`${name}-a`, { type: "another", data: 1 });
    expect((await delivered).event.stream).toBe(`${name}-a`);
  });
});

describe("checkpoints", () => {
  test("are saved, read, listed and deleted, forwards unless reset", async () => {
    await groupOver(fresh(), "abc");
    const consumer = fresh();
    expect(await client.checkpoints.get(consumer)).toBeUndefined();
    const saved = await client.checkpoints.save(consumer, 2, { metadata: { run: "1" } });
    expect(await client.checkpoints.get(consumer)).toEqual(saved);
    expect(saved).toMatchObject({ consumer, position: 2, metadata: { run: "1" } });
    await expect(client.checkpoints.save(consumer, 1)).rejects.toMatchObject({
      reason: "CHECKPOINT_BACKWARDS",
    });
    await client.checkpoints.save(consumer, 1, { reset: true });
    const [listed] = await collect(client.checkpoints.list({ prefix: consumer }));
    expect(listed?.position).toBe(1);
    expect(await client.checkpoints.delete(consumer)).toBe(true);
    expect(await client.checkpoints.delete(consumer)).toBe(false);
  });

  test("are saved with an append, in one commit or not at all", async () => {
    await groupOver(fresh(), "abc");
    const consumer = fresh();
    const append = (position: number) => {
      const checkpoint = { consumer, position, metadata: { why: "test" } };
      return client.append(consumer, { type: "Reacted", data: position }, { checkpoint });
    };
    await append(1);
    expect(await client.checkpoints.get(consumer)).toMatchObject({ position: 1 });
    await expect(append(1)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "CHECKPOINT_BACKWARDS",
    });
    expect((await client.stream(consumer))?.version).toBe(1);
  });

  test("are waited for", async () => {
    await groupOver(fresh(), "abc");
    const consumer = fresh();
    const waiting = client.waitFor({ consumer }, 2);
    await client.checkpoints.save(consumer, 3);
    expect(await waiting).toBe(3);
    const brief = client.waitFor({ consumer }, 4, { timeoutMs: 50 });
    await expect(brief).rejects.toMatchObject({ code: "TIMED_OUT" });
    await expect(client.waitFor({ group: "nobody" }, 1)).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });
});
