// Snapshots, Load and GetState over a real socket, as a client of any language would use them.
import { toJson, type MessageInitShape } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collect } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { data, events, json, m } from "./store-requests.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

describe("snapshots", () => {
  beforeEach(async () => {
    await server.calls.unary(m.append, { stream: "s", events: events(5) });
  });
  const save = (version: number, kind = "") =>
    server.calls.unary(m.saveSnapshot, {
      stream: "s",
      kind,
      version: BigInt(version),
      state: json({ v: version }),
      metadata: { by: "test" },
    });

  test("are saved, got at or before a version, listed, deleted", async () => {
    expect(await save(2)).toMatchObject({ position: 2n });
    await save(4);
    await save(3, "other");
    const got = await server.calls.unary(m.getSnapshot, { stream: "s", maxVersion: 3n, view: 2 });
    expect(got.snapshot).toMatchObject({
      version: 2n,
      position: 2n,
      contentType: "application/json",
      metadata: { by: "test" },
    });
    expect(got.snapshot?.state.case).toBe("json");
    expect((await server.calls.unary(m.getSnapshot, { stream: "s" })).snapshot).toMatchObject({
      version: 4n,
      state: { case: "data" },
    });
    const list = async (pageToken: string, kind?: string) => {
      const page = await server.calls.unary(m.listSnapshots, {
        stream: "s",
        pageSize: 2,
        pageToken,
        ...(kind === undefined ? {} : { kind }),
      });
      return {
        next: page.nextPageToken,
        found: page.snapshots.map((one) => [one.kind, Number(one.version), one.state.case]),
      };
    };
    const first = await list("");
    expect(first.found).toEqual([
      ["", 4, undefined],
      ["", 2, undefined],
    ]);
    expect(await list(first.next)).toEqual({ next: "", found: [["other", 3, undefined]] });
    expect((await list("", "other")).found).toHaveLength(1);
    expect(
      await server.calls.failure(m.listSnapshots, {
        stream: "s",
        kind: "other",
        pageToken: first.next,
      }),
    ).toMatchObject({ code: 3 });
    expect(
      await server.calls.unary(m.deleteSnapshots, { stream: "s", kind: "", maxVersion: 2n }),
    ).toMatchObject({ deletedCount: 1n });
    expect(await server.calls.unary(m.deleteSnapshots, { stream: "s" })).toMatchObject({
      deletedCount: 2n,
    });
    expect(await server.calls.unary(m.deleteSnapshots, { stream: "s" })).toMatchObject({
      deletedCount: 0n,
    });
    expect(await server.calls.failure(m.getSnapshot, { stream: "s", kind: "other" })).toMatchObject(
      {
        code: 5,
        reason: "SNAPSHOT_NOT_FOUND",
        info: { stream: "s", kind: "other" },
      },
    );
  });

  test("beyond the stream are refused", async () => {
    const refused = server.calls.failure(m.saveSnapshot, {
      stream: "s",
      version: 6n,
      state: data("x"),
    });
    expect(await refused).toMatchObject({
      code: 9,
      reason: "SNAPSHOT_BEYOND_STREAM",
      info: { stream_version: "5" },
    });
  });

  test("beyond the stream are saved, got and listed by those who say so", async () => {
    const ahead = { stream: "s", kind: "k", mayBeAhead: true };
    const saving = { ...ahead, version: 6n, state: json({ v: 6 }) };
    expect(await server.calls.unary(m.saveSnapshot, saving)).toMatchObject({ position: 0n });
    const asked = { stream: "s", kind: "k" };
    expect(await server.calls.failure(m.getSnapshot, asked)).toMatchObject({ code: 5 });
    const { snapshot } = await server.calls.unary(m.getSnapshot, ahead);
    expect(snapshot).toMatchObject({ version: 6n, position: 0n });
    expect((await server.calls.unary(m.listSnapshots, asked)).snapshots).toEqual([]);
    const { snapshots } = await server.calls.unary(m.listSnapshots, { ...ahead, view: 2 });
    expect(snapshots.map((one) => [one.version, one.state.case])).toEqual([[6n, "json"]]);
  });

  test("are listed with their states in any view, a page of one where they are large", async () => {
    for (const version of [1, 2, 3]) {
      const state = { case: "data", value: Buffer.alloc(2_500_000, version) } as const;
      const saved = { stream: "s", version: BigInt(version), state };
      await server.calls.unary(m.saveSnapshot, saved);
    }
    const found: unknown[] = [];
    let pageToken = "";
    do {
      const page = await server.calls.unary(m.listSnapshots, { stream: "s", view: 1, pageToken });
      found.push(page.snapshots.map(({ version, state }) => [version, state.case]));
      const [first] = page.snapshots;
      const bytes = Buffer.from(first?.state.value as Uint8Array);
      expect(bytes.equals(Buffer.alloc(2_500_000, Number(first?.version)))).toBe(true);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(found).toEqual([[[3n, "data"]], [[2n, "data"]], [[1n, "data"]]]);
    const { snapshots } = await server.calls.unary(m.listSnapshots, { stream: "s", view: 3 });
    expect(snapshots.map(({ state }) => state.case)).toEqual([undefined, undefined, undefined]);
  });

  test("of the largest size go in and out in every view", async () => {
    const state = { case: "data", value: Buffer.alloc(3 * 1024 * 1024, "9") } as const;
    await server.calls.unary(m.saveSnapshot, {
      stream: "s",
      version: 1n,
      contentType: "application/json",
      state,
    });
    for (const view of [1, 2]) {
      const { snapshot } = await server.calls.unary(m.getSnapshot, { stream: "s", view });
      expect(snapshot?.state.case === "data" && snapshot.state.value.length).toBe(3 * 1024 * 1024);
    }
  });

  test("with Load come first, then the events after them, then where to append", async () => {
    await save(3);
    const parts = await collect(server.calls.stream(m.load, { stream: "s", view: 2 }));
    expect(parts.map(({ message }) => message.case)).toEqual(["snapshot", "batch", "end"]);
    expect(parts[1]?.message.value).toMatchObject({ events: [{ version: 4n }, { version: 5n }] });
    const end = { version: 5n, head: 5n, after: 5n, eventCount: 2n };
    expect(parts[2]?.message.value).toMatchObject(end);
    const whole = await collect(
      server.calls.stream(m.load, { stream: "s", withoutSnapshot: true, maxVersion: 2n }),
    );
    expect(whole.map(({ message }) => message.case)).toEqual(["batch", "end"]);
    expect(whole[1]?.message.value).toMatchObject({ version: 2n, after: 2n, eventCount: 2n });
    const nothing = await collect(server.calls.stream(m.load, { stream: "nope" }));
    expect(nothing[0]?.message.value).toMatchObject({ version: 0n, head: 5n });
  });
});

describe("GetState", () => {
  test("folds JSON events by merge patch, as of now, a version or a time", async () => {
    const patches = [{ a: 1, b: { c: 2 } }, { b: { c: null, d: 3 } }];
    for (const patch of patches) {
      await server.calls.unary(m.append, {
        stream: "s",
        events: [{ type: "T", payload: json(patch) }],
      });
    }
    await server.calls.unary(m.append, {
      stream: "s",
      events: [{ type: "T", payload: data("\u0000") }],
    });
    const state = async (at?: MessageInitShape<typeof m.getState.input>["at"]) => {
      const answer = await server.calls.unary(m.getState, { stream: "s", ...(at && { at }) });
      const value = answer.state && toJson(ValueSchema, answer.state);
      expect(JSON.parse(answer.stateJson)).toEqual(value);
      return [
        value,
        Number(answer.version),
        Number(answer.appliedCount),
        Number(answer.skippedCount),
      ];
    };
    expect(await state()).toEqual([{ a: 1, b: { d: 3 } }, 3, 2, 1]);
    expect(await state({ case: "version", value: 1n })).toEqual([{ a: 1, b: { c: 2 } }, 1, 1, 0]);
    expect(await state({ case: "time", value: { seconds: 1n } })).toEqual([null, 0, 0, 0]);
  });

  const patch = (text: string) => {
    const payload = { case: "data", value: Buffer.from(text) } as const;
    const event = { type: "T", contentType: "application/json", payload };
    return server.calls.unary(m.append, { stream: "s", events: [event] });
  };

  test.each([
    ["a number beyond a double", '{"a":1e400,"b":[2e-400]}'],
    ["an integer beyond 2^53", '{"a":{"id":9007199254740993}}'],
    ["more digits than a double has", '{"a":0.12345678901234567890}'],
    ["halves of surrogate pairs as keys", '{"\\ud800":1,"\\udfff":"\\udc00"}'],
  ])("says %s as text only", async (_, text) => {
    await patch('{"kept":0.5}');
    await patch(text);
    const { state, stateJson } = await server.calls.unary(m.getState, { stream: "s" });
    expect(state).toBeUndefined();
    expect(stateJson).toBe(`{"kept":0.5,${text.slice(1)}`);
  });

  test("says as text what a merge patch did to exact numbers", async () => {
    await patch('{"a":1e400,"b":{"c":9007199254740993},"d":1}');
    await patch('{"a":null,"b":{"c":[12345678901234567890,{"e":-1E+999}]},"d":{"f":1e400}}');
    await patch('{"d":{"g":1}}');
    expect(await server.calls.unary(m.getState, { stream: "s" })).toMatchObject({
      stateJson: '{"b":{"c":[12345678901234567890,{"e":-1E+999}]},"d":{"f":1e400,"g":1}}',
    });
    await patch('{"b":2,"d":"x"}');
    const { state, stateJson } = await server.calls.unary(m.getState, { stream: "s" });
    expect([state && toJson(ValueSchema, state), stateJson]).toEqual([
      { b: 2, d: "x" },
      '{"b":2,"d":"x"}',
    ]);
  });

  test("of a state that no value can say has the text", async () => {
    const text = "\u0001".repeat(160_000);
    await patch(JSON.stringify({ text, number: 1 }));
    await patch('{"number":12345678901234567890}');
    const { state, stateJson } = await server.calls.unary(m.getState, { stream: "s" });
    expect(state).toBeUndefined();
    expect(JSON.parse(stateJson)).toMatchObject({ text });
  });

  test("of a state that is too large says so", async () => {
    for (const key of ["a", "b"]) await patch(JSON.stringify({ [key]: "x".repeat(600_000) }));
    const failure = await server.calls.failure(m.getState, { stream: "s" });
    expect(failure).toMatchObject({
      code: 8,
      reason: "ANSWER_TOO_LARGE",
      info: { bytes_max: "1048576" },
    });
  });
});
