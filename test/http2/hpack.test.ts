// HPACK against RFC 7541's own examples, the stories of other encoders, node's encoder and itself.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type ClientHttp2Session } from "node:http2";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HeaderDecoder, type FieldList } from "../../src/http2/hpack-decoder.ts";
import { encodeHeaders, hpackOf } from "../../src/http2/hpack-encoder.ts";
import { decodeHuffman } from "../../src/http2/huffman.ts";
import { encodeHuffman } from "./huffman-encoder.ts";
import { ok, serve } from "./served.ts";

type Pairs = readonly (readonly [string, string])[];

const limits = { headerListBytesMax: 1_000_000, headerFieldsMax: 10_000 };
const decoder = (): HeaderDecoder<FieldList> => new HeaderDecoder(limits, (list) => list);
const pairs = ({ fields }: FieldList): Pairs => fields.map(({ name, value }) => [name, value]);
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

const requests: Pairs[] = [
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  ],
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"],
  ],
  [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ],
];
const date = (second: number): [string, string] => ["date", `Mon, 21 Oct 2013 20:13:${second} GMT`];
const location: [string, string] = ["location", "https://www.example.com"];
const responses: Pairs[] = [
  [[":status", "302"], ["cache-control", "private"], date(21), location],
  [[":status", "307"], ["cache-control", "private"], date(21), location],
  [
    [":status", "200"],
    ["cache-control", "private"],
    date(22),
    location,
    ["content-encoding", "gzip"],
    ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
  ],
];
/** A table of 256 bytes, as the examples of responses have it. */
const smallTable = "3fe101";

const examples: [name: string, blocks: string[], expected: Pairs[]][] = [
  [
    "C.3, plain requests",
    [
      "828684410f7777772e6578616d706c652e636f6d",
      "828684be58086e6f2d6361636865",
      "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ],
    requests,
  ],
  [
    "C.4, requests with Huffman codes",
    [
      "828684418cf1e3c2e5f23a6ba0ab90f4ff",
      "828684be5886a8eb10649cbf",
      "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ],
    requests,
  ],
  [
    "C.5, plain responses, with evictions",
    [
      `${smallTable}4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a3231` +
        "20474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
      "4803333037c1c0bf",
      "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d" +
        "4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b20766572" +
        "73696f6e3d31",
    ],
    responses,
  ],
  [
    "C.6, responses with Huffman codes, with evictions",
    [
      `${smallTable}488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad17` +
        "1863c78f0b97c8e9ae82ae43d3",
      "4883640effc1c0bf",
      "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdf" +
        "cd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ],
    responses,
  ],
];

interface Story {
  story: string;
  cases: { wire: string; headers: Pairs }[];
}
const path = new URL("../fixtures/hpack-stories/stories.json", import.meta.url);
const stories = JSON.parse(readFileSync(path, "utf8")) as Story[];

describe("decoding", () => {
  test.each(examples)("RFC 7541 %s", (_, blocks, expected) => {
    const decoding = decoder();
    expect(blocks.map((block) => pairs(decoding.decode(hex(block))))).toEqual(expected);
  });

  test.each(stories)("what another encoder made of $story", ({ cases }) => {
    const decoding = decoder();
    for (const { wire, headers } of cases) {
      expect(pairs(decoding.meaning(hex(wire)))).toEqual(headers);
    }
  });

  test.each([
    ["the index 0", "80"],
    ["an index beyond the table", "be"],
    ["a name beyond the table", "7e0161"],
    ["a table larger than allowed", "3fe21f"],
    ["a change of the table's size behind a field", "8220"],
    ["an integer that is cut off", "ff"],
    ["an integer without an end", "ffffffffffffffff7f"],
    ["a text that is cut off", "00056162"],
    ["a literal without its value", "000161"],
    ["more than seven bits of padding", "000161821fff"],
    ["padding that is not ones", "0001618118"],
    ["the code of the end", "00016184ffffffff"],
  ])("%s is a COMPRESSION_ERROR", (_, block) => {
    expect(() => decoder().decode(hex(block))).toThrow(expect.objectContaining({ code: 9 }));
  });

  test("a token or a path that comes again and again is the one that was sent, each time", () => {
    const value = fc.constantFrom("/a", "/a/b", "Bearer x", "Bearer xy", "B".repeat(200), "");
    const name = fc.constantFrom(
      [4, ":path"] as const,
      [5, ":path"] as const,
      [23, "authorization"] as const,
    );
    const sent = fc.record({ name, value, isCoded: fc.boolean(), isIndexed: fc.boolean() });
    const property = fc.property(fc.array(sent, { minLength: 1, maxLength: 60 }), (all) => {
      const keeping = decoder();
      for (const {
        name: [index, text],
        value: said,
        isCoded,
        isIndexed,
      } of all) {
        const bytes = isCoded ? encodeHuffman(Buffer.from(said)) : Buffer.from(said);
        const flag = isCoded ? 0x80 : 0;
        const length =
          bytes.length < 127 ? [flag | bytes.length] : [flag | 127, bytes.length - 127];
        const prefix = isIndexed
          ? [0x40 | index]
          : index < 15
            ? [0x10 | index]
            : [0x1f, index - 15];
        const block = Buffer.concat([Buffer.from([...prefix, ...length]), bytes]);
        expect(pairs(keeping.decode(block))).toEqual([[text, said]]);
        const cut = block.subarray(0, block.length - 1);
        if (said !== "") expect(() => decoder().decode(cut)).toThrow(/cut off/);
      }
    });
    fc.assert(property, { numRuns: 200 });
  });

  test("a list beyond its limit is cut, and the table goes on", () => {
    const small = new HeaderDecoder(
      { headerListBytesMax: 200, headerFieldsMax: 100 },
      (list) => list,
    );
    const long = hpackOf([["x-long", "y".repeat(300)]]);
    const inserting = Buffer.concat([hex("400161"), Buffer.from([1, 0x62])]);
    const list = small.decode(Buffer.concat([long, inserting]));
    expect(list).toMatchObject({ isTooLarge: true, fields: [] });
    expect(pairs(small.decode(hex("be")))).toEqual([["a", "b"]]);
    expect(small.decode(Buffer.alloc(101, 0x82)).fields).toHaveLength(4);
  });

  test("a bomb of references stays as small as the limit", () => {
    const decoding = new HeaderDecoder({ ...limits, headerListBytesMax: 65_536 }, (list) => list);
    const big = hpackOf([["x", "y".repeat(4_000)]]);
    decoding.decode(Buffer.concat([Buffer.from([0x40]), big.subarray(1)]));
    const list = decoding.decode(Buffer.alloc(16_384, 0xbe));
    expect(list.isTooLarge).toBe(true);
    expect(list.fields.length).toBeLessThan(17);
  });

  test("random bytes are decoded or refused, and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decoder().decode(Buffer.from(bytes));
        } catch (error) {
          expect(error).toMatchObject({ code: 9 });
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
const value = fc.stringMatching(/^([!-~\u0080-\u00ff]([ -~\u0080-\u00ff]{0,60}[!-~])?)?$/);

describe("encoding", () => {
  test("what is encoded is decoded as it was", () => {
    const headers = fc.array(fc.tuple(name, value), { maxLength: 20 });
    fc.assert(
      fc.property(headers, (list) => {
        expect(pairs(decoder().decode(hpackOf(list)))).toEqual(list);
      }),
    );
  });

  test("every byte has its Huffman code, both ways", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const coded = encodeHuffman(bytes);
        const text = Buffer.from(bytes).toString("latin1");
        expect(decodeHuffman(coded, 0, coded.length)).toBe(text);
      }),
    );
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const coded = encodeHuffman(all);
    expect(decodeHuffman(coded, 0, coded.length)).toBe(all.toString("latin1"));
  });

  test.each([
    ["x", "a\r\nb"],
    ["x", "a\0"],
    ["x", " a"],
    ["X", "a"],
    ["x y", "a"],
    ["", "a"],
  ])("the header %j: %j is refused, for it would split the answer", (badName, badValue) => {
    expect(() => encodeHeaders([[badName, badValue]])).toThrow(RangeError);
  });
});

test("node's encoder and ours understand each other over a connection of many requests", async () => {
  const served = await serve((stream) => ({
    onEnd: () => {
      const own = [...stream.headers].filter(([field]) => field.startsWith("x-"));
      stream.respond(encodeHeaders([[":status", "200"], ...own]), true);
    },
  }));
  const session = connect(`http://127.0.0.1:${served.port}`);
  const own = fc.dictionary(
    name.map((tail) => `x-${tail}`),
    value,
    { maxKeys: 8, noNullPrototype: true },
  );
  await fc.assert(
    fc.asyncProperty(own, async (headers) => {
      expect(await answered(session, headers)).toEqual(headers);
    }),
    { numRuns: 300 },
  );
  session.close();
  await served.finish();
  expect(hpackOf(ok.fields).length).toBeLessThan(20);
});

async function answered(session: ClientHttp2Session, headers: Record<string, string>) {
  const stream = session.request({ ":path": "/", ...headers });
  stream.resume();
  const got = await new Promise<Record<string, unknown>>((resolve, reject) => {
    stream.on("response", (response) => resolve({ ...response }));
    stream.on("error", reject);
  });
  return Object.fromEntries(Object.entries(got).filter(([field]) => field.startsWith("x-")));
}

test("node decodes every list of the stories as we encode it", async () => {
  const lists = stories.flatMap(({ cases }) => cases.map(({ headers }) => headers));
  // What an answer may have: no pseudo-headers of a request, and a length only with content.
  const regular = lists.map((list) =>
    list.filter(([field]) => !/^(:.*|content-length|connection|transfer-encoding)$/.test(field)),
  );
  const served = await serve((stream) => ({
    onEnd: () => {
      const list = regular[Number(stream.headers.get(":path")?.slice(1))] ?? [];
      stream.respond(encodeHeaders([[":status", "200"], ...list]), true);
    },
  }));
  const session = connect(`http://127.0.0.1:${served.port}`);
  for (const [index, list] of regular.entries()) {
    const stream = session.request({ ":path": `/${index}` });
    stream.resume();
    const [, , raw] = (await once(stream, "response")) as [unknown, unknown, string[]];
    expect(raw).toEqual([":status", "200", ...list.flat()]);
  }
  session.close();
  await served.finish();
  expect(lists.length).toBeGreaterThan(100);
});
