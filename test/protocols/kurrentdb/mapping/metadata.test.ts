// Metadata streams of the KurrentDB protocol: they are the policies of streams.
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { TestServer } from "../../../support/running-server.ts";
import {
  append,
  at,
  events,
  m,
  named,
  ofAll,
  ofStream,
  read,
  startKurrent,
  textOf,
  trailersOf,
} from "../kurrent-client.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startKurrent();
});
afterEach(() => server.stop());

const revisions = async (stream: string) =>
  (await events(server.calls, { streamOption: ofStream(stream) })).map((e) =>
    Number(e.streamRevision),
  );
const remove = (stream: string, method: "delete" | "tombstone" = "delete") => {
  const expectedStreamRevision = { case: "any", value: {} } as const;
  const options = { streamIdentifier: named(stream), expectedStreamRevision };
  return server.calls.unary(m[method] as typeof m.delete, { options });
};

describe("the metadata of a stream", () => {
  const metadata = async (stream: string) =>
    (await events(server.calls, { streamOption: ofStream(`$$${stream}`) })).map((e) =>
      textOf(e.data),
    );

  test("comes back as it was written, and is in force", async () => {
    await append(server.calls, "s", [{}, {}, {}]);
    const text = '{ "$maxCount": 2,  "mine": [1, {"$tb": 2}] }';
    const event = { id: randomUUID(), type: "$metadata", data: text };
    const first = await append(server.calls, "$$s", [event], "noStream");
    expect(first).toMatchObject({ revision: 0n });
    expect(await metadata("s")).toEqual([text]);
    expect(await revisions("s")).toEqual([1, 2]);
    expect(await append(server.calls, "$$s", [event], "noStream")).toEqual(first);
    expect(await append(server.calls, "$$s", [{ type: "$metadata" }], 7n)).toMatchObject({
      current: 0n,
    });
    expect(
      await append(server.calls, "$$s", [{ type: "$metadata", data: '{"$tb":3}' }], 0n),
    ).toMatchObject({ revision: 1n });
    expect(await revisions("s")).toEqual([]);
  });

  test("of a tombstoned stream is not told, but written, and the stream stays tombstoned", async () => {
    const event = (mine: number) => [{ type: "$metadata", data: `{"mine":${mine}}` }];
    await append(server.calls, "s", [{}]);
    await append(server.calls, "$$s", event(1));
    await append(server.calls, "$$s", event(2), 0n);
    await remove("s", "tombstone");
    const deleted = { code: 9, exception: "stream-deleted", "stream-name": "$$s" };
    expect(await trailersOf(metadata("s"))).toMatchObject(deleted);
    expect(await append(server.calls, "$$s", event(3), "noStream")).toMatchObject({ current: 1n });
    expect(await append(server.calls, "$$s", event(3), 2n)).toMatchObject({ current: 1n });
    const { revision } = await append(server.calls, "$$s", event(3), 1n);
    expect(revision).toBe(3n);
    expect(await append(server.calls, "$$s", event(4), 2n)).toMatchObject({ current: 3n });
    expect(await append(server.calls, "$$s", event(4), 3n)).toMatchObject({ revision: 4n });
    const ends = { type: "$metadata", data: '{"$tb":9223372036854775807}' };
    expect(await append(server.calls, "$$s", [ends])).toMatchObject({ revision: 5n });
    expect(await trailersOf(metadata("s"))).toMatchObject(deleted);
    expect(await trailersOf(append(server.calls, "s", [{}]))).toMatchObject({ code: 9 });
    const all = await events(server.calls, { streamOption: ofAll() });
    expect(all.map(at).slice(-5)).toEqual([
      "$$s@1",
      `s@${2n ** 63n - 1n}`,
      "$$s@3",
      "$$s@4",
      "$$s@5",
    ]);
    await append(server.calls, "t", [{}]);
    await remove("t", "tombstone");
    expect(await append(server.calls, "$$t", event(1), "streamExists")).toMatchObject({
      current: -1n,
    });
    expect(await append(server.calls, "$$t", event(1), "noStream")).toMatchObject({ revision: 1n });
  });

  test("is written once, however often a client retries it after a tombstone", async () => {
    const event = { id: randomUUID(), type: "$metadata", data: '{"mine":1}' };
    const later = { type: "$metadata", data: '{"mine":2}' };
    for (const [stream, expected] of [
      ["bare", "noStream"],
      ["known", 0n],
    ] as const) {
      await append(server.calls, stream, [{}]);
      if (expected === 0n) await append(server.calls, `$$${stream}`, [later]);
      await remove(stream, "tombstone");
      const first = await append(server.calls, `$$${stream}`, [event], expected);
      const { revision } = first;
      expect(revision).toBe(expected === 0n ? 2n : 1n);
      expect(await append(server.calls, `$$${stream}`, [event], expected)).toEqual(first);
      await append(server.calls, `$$${stream}`, [later], revision);
      expect(await append(server.calls, `$$${stream}`, [event], expected)).toEqual(first);
      const other = { ...event, id: randomUUID() };
      const conflict = { current: (revision ?? 0n) + 1n };
      expect(await append(server.calls, `$$${stream}`, [other], expected)).toMatchObject(conflict);
    }
  });

  test("says before which revision a deleted stream begins, once it has events again", async () => {
    await append(server.calls, "s", [{}, {}]);
    await append(server.calls, "$$s", [{ type: "$metadata", data: '{"mine":1}' }]);
    await remove("s");
    expect((await metadata("s")).at(-1)).toBe('{"$tb":9223372036854775807,"mine":1}');
    await append(server.calls, "s", [{}]);
    expect((await metadata("s")).at(-1)).toBe('{"$tb":2,"mine":1}');
  });

  test("with a $tb that is to come removes what there is, and nothing that comes", async () => {
    const text = '{"$tb":5,"mine":1}';
    await append(server.calls, "$$empty", [{ type: "$metadata", data: text }]);
    await append(server.calls, "s", [{}, {}]);
    await append(server.calls, "$$s", [{ type: "$metadata", data: text }]);
    for (const stream of ["empty", "s"]) await append(server.calls, stream, [{}]);
    expect([await revisions("empty"), await revisions("s")]).toEqual([[0], [2]]);
    expect([...(await metadata("empty")), ...(await metadata("s"))]).toEqual([text, text]);
  });

  test("deletes the stream with the greatest $tb", async () => {
    await append(server.calls, "s", [{}]);
    await append(server.calls, "$$s", [{ type: "$metadata", data: '{"$tb":9223372036854775807}' }]);
    const [message] = await read(server.calls, { streamOption: ofStream("s") });
    expect(message?.content.case).toBe("streamNotFound");
  });

  test.each([
    ["no JSON", "[]", "the metadata of a stream is no JSON object"],
    [
      "a count of nothing",
      '{"$maxCount":0}',
      "$maxCount is not a whole number from 1 to 9007199254740991",
    ],
    ["no revision", '{"$tb":-5}', "$tb is not a revision"],
  ])("is refused if it is %s", async (_, data, details) => {
    const refused = await trailersOf(append(server.calls, "$$s", [{ type: "$metadata", data }]));
    expect(refused).toEqual({ code: 3, details });
  });
});
