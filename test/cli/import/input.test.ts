// What import reads: lines from bytes however they are cut, and batches that never reorder.
import { Readable } from "node:stream";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { batchesOf, type ImportOptions } from "../../../src/cli/import/import-batches.ts";
import { linesOf } from "../../../src/cli/import/input-lines.ts";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { nameId, namespaceOf } from "../../../src/cli/import/name-id.ts";

/** The bytes as a stream that is cut at these places. */
function cut(bytes: Buffer, places: readonly number[] = []): AsyncIterable<Buffer> {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length];
  const parts: Buffer[] = [];
  let start = 0;
  for (const end of ends.toSorted((a, b) => a - b)) {
    if (end > start) parts.push(bytes.subarray(start, end));
    start = Math.max(start, end);
  }
  return Readable.from(parts) as AsyncIterable<Buffer>;
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}

describe("lines", () => {
  test("are the same wherever the bytes are cut", async () => {
    const text = fc.array(fc.string({ unit: "grapheme" }).map((s) => s.replace(/[\r\n]/g, "")));
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.nat()), fc.boolean(), async (lines, places, ended) => {
        const bytes = Buffer.from(lines.join("\n") + (ended ? "\n" : ""));
        const expected = lines
          .map((line, index) => ({ number: index + 1, text: line.replace(/^\uFEFF/, "") }))
          .map((line, index) => (index === 0 ? line : { ...line, text: lines[index] ?? "" }))
          .filter((line) => line.text.trim() !== "");
        const found = await collect(linesOf(cut(bytes, places)));
        expect(found.map(({ number, text: line }) => ({ number, text: line }))).toEqual(expected);
      }),
    );
  });

  test("may end in CR LF, begin with a byte order mark and be blank", async () => {
    const lines = await collect(linesOf(cut(Buffer.from("\uFEFF{}\r\n\r\n \n[]"))));
    expect(lines.map(({ number, text }) => [number, text])).toEqual([
      [1, "{}"],
      [4, "[]"],
    ]);
  });

  test("that are not UTF-8 are refused by number", async () => {
    const bytes = Buffer.concat([
      Buffer.from('{}\n{"a":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]);
    await expect(collect(linesOf(cut(bytes)))).rejects.toThrow("line 2: not UTF-8");
  });

  test("without end are refused before they fill the memory", async () => {
    async function* endless() {
      for (;;) yield Buffer.alloc(1024 * 1024, "x");
    }
    await expect(collect(linesOf(endless()))).rejects.toThrow("line 1: longer than 32 MiB");
  });
});

const withNames: ImportOptions = { namespace: namespaceOf("file"), stream: "s" };

function batches(text: string, options: ImportOptions = withNames) {
  return collect(batchesOf(cut(Buffer.from(text)), options));
}

describe("batches", () => {
  test("hold every line in order, at most a thousand in each", async () => {
    const text = Array.from({ length: 2_500 }, (_, index) => `{"type":"T${index}"}\n`).join("");
    const found = await batches(text);
    expect(found.map(({ events }) => events.length)).toEqual([1_000, 1_000, 500]);
    const lines = found.flatMap(({ events }) => events.map(({ line, type }) => [line, type]));
    expect(lines).toEqual(Array.from({ length: 2_500 }, (_, index) => [index + 1, `T${index}`]));
  });

  test("are cut by bytes, and a large event goes alone", async () => {
    const large = `{"type":"T","data":"${"A".repeat(600_000)}"}\n`;
    const found = await batches(`{"type":"T"}\n${large}{"type":"T"}\n`);
    expect(found.map(({ events }) => events.length)).toEqual([1, 1, 1]);
  });

  test("have fewer tags and metadata entries than an append may", async () => {
    const tags = JSON.stringify(Array.from({ length: 64 }, (_, i) => `${i}`));
    const found = await batches(`{"type":"T","tags":${tags}}\n`.repeat(1_000));
    const tagCounts = found.map(({ events }) => events.flatMap((event) => event.tags).length);
    expect(Math.max(...tagCounts)).toBeLessThanOrEqual(defaultLimits.appendTagsMax / 2);
    expect(tagCounts.reduce((sum, count) => sum + count)).toBe(64_000);
  });

  test("never hold one id twice", async () => {
    const line = '{"type":"T","id":"0190a1a2-0000-7000-8000-000000000001"}\n';
    const found = await batches(line + line);
    expect(found.map(({ events }) => events.length)).toEqual([1, 1]);
  });

  test("derive the same ids in every run, another for every line, name and text", async () => {
    const ids = async (text: string, name: string) =>
      (await batches(text, { namespace: namespaceOf(name), stream: "s" })).flatMap(({ events }) =>
        events.map(({ id }) => id),
      );
    const first = await ids('{"type":"T"}\n{"type":"T"}\n', "a");
    expect(await ids('{"type":"T"}\r\n{"type":"T"}', "a")).toEqual(first);
    const others = [...(await ids('{"type":"T"}\n', "b")), ...(await ids('{"type":"U"}\n', "a"))];
    expect(new Set([...first, ...others]).size).toBe(4);
  });

  test.each([
    ['{"type":"T"}', { namespace: undefined, stream: "s" }, 'line 1: no "id"'],
    ['{"type":"T"}', { ...withNames, stream: undefined }, 'line 1: no "stream"'],
    ['\n{"type":"T"}\n{"typ":"T"}', withNames, 'line 3: "typ" is unknown'],
  ])("of %j are refused with the line that is wrong", async (text, options, message) => {
    await expect(batches(text, options)).rejects.toThrow(message);
  });
});

test("derived ids are version 5 UUIDs as RFC 9562 has them", () => {
  const dns = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
  expect(nameId(dns, "www.example.com")).toBe("2ed6657d-e927-568b-95e1-2665a8aea6a2");
  expect(namespaceOf(dns.toUpperCase())).toBe(dns);
});
