// Pages of lists, and the tokens that lead from one to the next.
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLimits, type Limits } from "../../../src/domain/limits.ts";
import {
  EventTypeInfoSchema,
  ListEventTypesResponseSchema,
} from "../../../src/gen/annals/v1/info_pb.js";
import { pageOf, PageTokens, type PagedList } from "../../../src/grpc/convert/page.ts";
import { encode } from "../../support/calls.ts";

const pageTokens = new PageTokens(Buffer.alloc(32, 7));
const wanted = { ...new AbortController().signal, aborted: false, reason: undefined };

interface Asked {
  readonly pageSize?: number;
  readonly pageToken?: string;
  readonly limits?: Limits;
  /** Bytes of an entry besides its name. */
  readonly entryBytes?: number;
}

/** The pages of a list of these names, and how each piece of it was asked for. */
function listOf(names: readonly string[]) {
  const pieces: number[] = [];
  const page = async (asked: Asked = {}) => {
    const { pageSize = 0, pageToken = "", limits = defaultLimits, entryBytes = 0 } = asked;
    const listing: PagedList<string> = {
      scope: ["L", "n"],
      cursorOf: (name) => name,
      encode: (name) =>
        Buffer.concat([encode(EventTypeInfoSchema, { type: name }), padding(entryBytes)]),
      list: async (after, limit) => {
        const piece = names.filter((name) => name > after).slice(0, limit);
        pieces.push(piece.length);
        return piece;
      },
    };
    const bytes = await pageOf({ pageSize, pageToken }, { limits, pageTokens }, listing, wanted);
    const { eventTypes, nextPageToken } = fromBinary(ListEventTypesResponseSchema, bytes);
    return { names: eventTypes.map(({ type }) => type), nextPageToken };
  };
  return { page, pieces };
}

/** A field that the message does not have. */
function padding(bytes: number): Buffer {
  if (bytes === 0) return Buffer.alloc(0);
  const head = Buffer.from([0xfa, 0x7f, 0x80, 0x80, 0x80, 0x80, 0x00]);
  head[2] = 0x80 | (bytes & 0x7f);
  head[3] = 0x80 | ((bytes >>> 7) & 0x7f);
  head[4] = 0x80 | ((bytes >>> 14) & 0x7f);
  head[5] = 0x80 | ((bytes >>> 21) & 0x7f);
  return Buffer.concat([head, Buffer.alloc(bytes)]);
}

const numbered = (count: number) =>
  Array.from({ length: count }, (_, i) => `n${String(i).padStart(4, "0")}`);

describe("pages", () => {
  test("follow one another without gap or overlap, and end", async () => {
    for (const size of [1, 7, 24, 25, 26, 31, 32, 33, 100]) {
      const names = numbered(size === 100 ? 150 : 25);
      const { page } = listOf(names);
      const seen: string[] = [];
      let pageToken = "";
      do {
        const next = await page({ pageSize: size, pageToken });
        expect(next.names.length).toBeLessThanOrEqual(size);
        seen.push(...next.names);
        pageToken = next.nextPageToken;
      } while (pageToken !== "");
      expect(seen).toEqual(names);
    }
  });

  test("have a default and a largest size, and end early where entries are large", async () => {
    const limits = { ...defaultLimits, pageSizeDefault: 3, pageSizeMax: 5 };
    const { page } = listOf(numbered(25));
    const count = async (asked: Asked) => (await page({ limits, ...asked })).names.length;
    expect(await count({})).toBe(3);
    expect(await count({ pageSize: 4_000_000_000 })).toBe(5);
    expect(await count({ pageSize: 5, entryBytes: 400_000 })).toBe(2);
    const huge = await page({ limits, pageSize: 5, entryBytes: 9_999_999 });
    expect(huge.names).toHaveLength(1);
    expect(huge.nextPageToken).not.toBe("");
  });

  test("are read in small pieces, and no further than they go", async () => {
    const { page, pieces } = listOf(numbered(3_000));
    expect((await page({ pageSize: 1_000 })).names).toHaveLength(1_000);
    expect(Math.max(...pieces)).toBe(32);
    expect(pieces.reduce((sum, each) => sum + each, 0)).toBe(1_001);
    pieces.length = 0;
    expect((await page({ pageSize: 1_000, entryBytes: 100_000 })).names).toHaveLength(10);
    expect(pieces).toEqual([32]);
  });

  test("end with the call that asked for them", async () => {
    const abort = new AbortController();
    let asked = 0;
    const listing: PagedList<string> = {
      scope: ["L"],
      cursorOf: (name) => name,
      encode: () => Buffer.alloc(1),
      list: async (_, limit) => {
        if (++asked === 2) abort.abort();
        return numbered(limit);
      },
    };
    const paging = { limits: defaultLimits, pageTokens };
    const page = pageOf({ pageSize: 1_000, pageToken: "" }, paging, listing, abort.signal);
    await expect(page).rejects.toMatchObject({ reason: "CANCELLED" });
    expect(asked).toBe(2);
  });
});

describe("a page token", () => {
  test("is good for the list and the store it is from, whole and intact", () => {
    const elsewhere = new PageTokens(Buffer.alloc(32, 8));
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.nat(), (cursor, bend) => {
        const token = pageTokens.make(["L", "p"], cursor);
        expect(pageTokens.read(["L", "p"], token)).toBe(cursor);
        expect(() => pageTokens.read(["L", "q"], token)).toThrow("page_token");
        expect(() => pageTokens.read(["M", "p"], token)).toThrow("page_token");
        expect(() => elsewhere.read(["L", "p"], token)).toThrow("page_token");
        const at = bend % token.length;
        const other = token[at] === "A" ? "B" : "A";
        const corrupted = `${token.slice(0, at)}${other}${token.slice(at + 1)}`;
        expect(() => pageTokens.read(["L", "p"], corrupted)).toThrow("page_token");
        expect(() => pageTokens.read(["L", "p"], `${token}=`)).toThrow("page_token");
      }),
    );
    for (const nonsense of ["nonsense", "A", "====", "ü", "A".repeat(10_000)]) {
      expect(() => pageTokens.read(["L"], nonsense)).toThrow("page_token");
    }
  });
});
