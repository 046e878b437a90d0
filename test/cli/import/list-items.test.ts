// Files of CloudEvents, one on each line or all in one list, and lists in general.
import { Readable } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { batchesOf, type ImportOptions } from "../../../src/cli/import/import-batches.ts";
import { itemsOf } from "../../../src/cli/import/list-items.ts";

/** The text's bytes, cut at these places. */
function cut(text: string, places: readonly number[] = []): AsyncIterable<Buffer> {
  const bytes = Buffer.from(text);
  const parts: Buffer[] = [];
  let start = 0;
  for (const end of [...places, bytes.length].toSorted((a, b) => a - b)) {
    if (end > start && end <= bytes.length) parts.push(bytes.subarray(start, end));
    start = Math.max(start, Math.min(end, bytes.length));
  }
  return Readable.from(parts) as AsyncIterable<Buffer>;
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}

async function events(text: string, options: Partial<ImportOptions> = {}) {
  const found = await collect(
    batchesOf(cut(text), { namespace: undefined, stream: undefined, ...options }),
  );
  return found.flatMap((batch) => batch.events);
}

const placed = {
  specversion: "1.0",
  id: "0190a1a2-0000-7000-8000-000000000001",
  source: "/shop",
  type: "com.example.Placed",
  subject: "order-1",
  time: "2026-01-02T03:04:05Z",
  data: { total: 1.5 },
};
const paid = { ...placed, id: "17", type: "com.example.Paid", stream: "payment-1" };

test("a list gives its objects, wherever the bytes are cut and whatever is between", async () => {
  const values = fc.array(fc.dictionary(fc.string(), fc.jsonValue()));
  const space = fc.constantFrom("", " ", "\n", "\r\n\t");
  await fc.assert(
    fc.asyncProperty(values, space, fc.array(fc.nat(400)), async (items, between, places) => {
      const list = items.map((item) => JSON.stringify(item)).join(`${between},${between}`);
      const text = `${between}[${between}${list}${between}]${between}`;
      const found = await collect(itemsOf(cut(text, places)));
      expect(found.map((item) => JSON.parse(item.text) as unknown)).toEqual(
        items.map((item) => JSON.parse(JSON.stringify(item)) as unknown),
      );
    }),
  );
});

const item = JSON.stringify({ id: "0190a1a2-0000-7000-8000-00000000000a", type: "A", stream: "s" });

test.each([
  ['[{"a":1', "line 1: the list has no end"],
  [`[${item}\n${item}]`, "line 2: not a list of objects"],
  [`[${item},]`, "line 1: not a list of objects"],
  ["[1]", "line 1: not a list of objects"],
  ["[,{}]", "line 1: not a list of objects"],
  ["[]\n[]", "line 2: not one list"],
  ['[{"type":"A","stream":"s"}]', 'line 1: no "id"'],
])("%j is refused", async (text, why) => {
  await expect(events(text, { namespace: "n" })).rejects.toThrow(why);
});

test("CloudEvents in a list are the same as on lines of their own", async () => {
  const inList = await events(JSON.stringify([placed, paid], undefined, 2));
  const onLines = await events(`${JSON.stringify(placed)}\n${JSON.stringify(paid)}\n`);
  const withoutLine = (all: typeof inList) => all.map(({ line: _, ...event }) => event);
  expect(withoutLine(inList)).toEqual(withoutLine(onLines));
  const [first, second] = inList;
  expect(first).toMatchObject({
    id: placed.id,
    stream: "order-1",
    type: "com.example.Placed",
    contentType: "application/json",
    metadata: { "ce-source": "/shop", "ce-time": placed.time, "ce-subject": "order-1" },
  });
  const { payload } = first ?? {};
  const data = payload?.case === "data" ? payload.value : [];
  expect(Buffer.from(data).toString()).toBe('{"total":1.5}');
  expect(second).toMatchObject({ stream: "payment-1", metadata: { "ce-id": "17" } });
  expect(second?.id).toMatch(/^[\da-f-]{36}$/);
  expect((await events(JSON.stringify(placed), { stream: "all" }))[0]?.stream).toBe("all");
});

test("a line that is no CloudEvent may have the word in its payload", async () => {
  const line = { id: placed.id, type: "A", stream: "s", json: { specversion: "1.0" } };
  expect((await events(JSON.stringify(line)))[0]).toMatchObject({ type: "A", stream: "s" });
});

test("what is wrong with a CloudEvent is told with its line", async () => {
  const text = JSON.stringify([placed, { ...paid, source: undefined }], undefined, 1);
  await expect(events(text)).rejects.toThrow("line 13: source: is required");
});
