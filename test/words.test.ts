// Words that the code base once used for things which have a usual name, as a test. Code, comments
// and documentation use the terms of the glossary in docs/model.md, and plain English otherwise.
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

interface Refused {
  words: string[];
  /** What to write instead. */
  instead: string;
  /** Only files below these paths. Absent: every file. */
  under?: string[];
  /** Not in files below these paths, where the word means something else. */
  except?: string[];
}

const refused: Refused[] = [
  { words: ["slab", "slabs"], instead: "chunk, batch or block" },
  {
    words: ["stub", "stubs"],
    instead: "removed record",
    // gRPC's generated clients are called stubs.
    except: ["docs/clients/", "test/clients/", "examples/"],
  },
  { words: ["sight", "sights"], instead: "view, snapshot or check" },
  {
    words: ["note", "notes"],
    instead: "side value",
    under: ["src/storage/", "src/log/", "proto/"],
  },
  { words: ["book", "books"], instead: "index or list", under: ["src/storage/", "src/log/"] },
  { words: ["rider", "riders"], instead: "side value" },
  { words: ["shadow", "shadows"], instead: "copy" },
  { words: ["door", "doors"], instead: "transport or server" },
  { words: ["lane", "lanes"], instead: "ordering key or queue" },
  { words: ["front", "fronts"], instead: "position or first" },
  { words: ["floor", "floors"], instead: "layer or room" },
  { words: ["law", "laws"], instead: "contract or invariant" },
  { words: ["bent"], instead: "corrupted" },
  { words: ["edge", "edges"], instead: "bound or call environment" },
  {
    words: ["core", "cores"],
    instead: "open store",
    under: ["src/storage/leveldb/"],
    // Of a processor.
    except: ["src/storage/leveldb/upkeep/pace.ts"],
  },
  {
    words: ["mark", "marks"],
    instead: "high-water mark",
    under: ["src/storage/"],
    except: [
      // It explains the term.
      "src/storage/leveldb/folder/high-water-mark.ts",
      // A file that says that a restore has not finished.
      "src/storage/leveldb/offline/restore.ts",
    ],
  },
  {
    words: ["words"],
    instead: "header of an event",
    under: ["src/domain/", "src/log/", "src/grpc/convert/", "proto/"],
  },
  { words: ["pieces"], instead: "message parts", under: ["src/grpc/transport/"] },
  { words: ["turns"], instead: "keyed mutex", under: ["src/client/decider/"] },
  {
    words: ["outstanding"],
    instead: "unacknowledged or unsent",
    // A field of that protocol.
    except: ["proto/event_store/", "src/protocols/kurrentdb/"],
  },
  { words: ["whoever"], instead: "a noun: the client, every subscriber" },
  { words: ["diary", "diaries"], instead: "journal or log" },
];

const phrases = [
  /what is gone/i,
  // Its client for Go has this name.
  /(?<!kurrentdb\.|dbclient\.)\bAppendStream/,
  /\bReplay(?:Request|Response)\b/,
  /rpc Replay\b/,
  // `after` is an exclusive position; a timer has a delay.
  /\bafterMs\b|\btimers?\.after\b/,
];

/** Usual expressions that contain a refused word. */
const usual = /Math\.floor|\b(?:in|up) front\b|next door|high-?water-?\s?mark/gi;
/** The name of the file that holds the high-water mark. */
const fileName = /\bMARK\b/g;

/** The refused words in a text, with their lines. Identifiers count part by part. */
function oldWords(path: string, text: string): string[] {
  const instead = new Map<string, string>();
  for (const { words, instead: better, under, except } of refused) {
    if (under?.some((place) => path.startsWith(place)) === false) continue;
    if (except?.some((place) => path.startsWith(place)) === true) continue;
    for (const word of words) instead.set(word, better);
  }
  return text.split("\n").flatMap((line, index) => {
    const at = `${path}:${index + 1}:`;
    const parts =
      line
        .replaceAll(usual, "")
        .replaceAll(fileName, "")
        .match(/[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g) ?? [];
    const old = new Set(
      parts.map((part) => part.toLowerCase()).filter((part) => instead.has(part)),
    );
    return [
      ...[...old].map((word) => `${at} "${word}": write ${instead.get(word)}`),
      ...phrases.flatMap((phrase) => {
        const found = phrase.exec(line);
        return found === null ? [] : [`${at} "${found[0]}" is not used any more`];
      }),
    ];
  });
}

const texts = "ts,js,mjs,py,go,rs,java,cs,cpp,sh,md,proto,yaml,yml,json,toml";
const files = [
  ...globSync(`{src,test,bench,examples,scripts,deploy,docs,proto,.ci}/**/*.{${texts}}`),
  ...globSync(["*.md", "*.ts", "Dockerfile", ".ci/run"]),
].filter(
  (path) =>
    !/node_modules|\/target\/|^src\/gen\/|^src\/console\/files\.js|^test\/fixtures\//.test(path),
);

describe("the words of this code base", () => {
  test("are the usual ones", () => {
    expect(files).toContain("ARCHITECTURE.md");
    expect(files).toContain("src/grpc/transport/status.ts");
    const looked = files.filter((path) => path !== "test/words.test.ts");
    expect(looked.flatMap((path) => oldWords(path, readFileSync(path, "utf8")))).toEqual([]);
  });

  test.each([
    ["src/a.ts", "const slabBytes = 1;", '"slab"'],
    ["src/a.ts", "// Told at the door.", '"door"'],
    ["docs/a.md", "What is gone comes back.", '"What is gone"'],
    ["src/log/a.ts", "saveNote();", '"note"'],
    ["proto/a.proto", "rpc Replay(ReplayRequest)", '"ReplayRequest"'],
    ["src/a.ts", "const bent_chunk = whoever;", '"whoever"'],
    ["src/storage/leveldb/a.ts", "// The mark of the core.", '"mark"'],
    ["src/domain/event.ts", "eventWords(record);", '"words"'],
    ["src/grpc/transport/a.ts", "message.pieces", '"pieces"'],
    ["src/log/timers.ts", "timers.after(5, wake);", '"timers.after"'],
  ])("an old word is found: %s: %s", (path, line, word) => {
    expect(oldWords(path, `\n${line}`).join("\n")).toContain(`${path}:2: ${word}`);
  });

  test.each([
    ["src/a.ts", "Math.floor(a / b); // in front of the lawn, planet, flooring"],
    ["docs/clients/java.md", "A new stub for every call."],
    ["src/client/a.ts", "const note = 1;"],
    ["src/storage/leveldb/a.ts", "new HighWaterMark(), the high-water mark, createHighWaterMark"],
    ["src/http2/output.ts", "for (const piece of pieces) write(piece);"],
  ])("other words pass: %s: %s", (path, line) => {
    expect(oldWords(path, line)).toEqual([]);
  });
});
