// Generated frames to ours and to node:http2: the same comes of them, but for what is known. And
// anything at all to ours alone: it lives on, and holds nothing afterwards. The long form is the
// campaign `frames`.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { seededRandom } from "../support/seeded.ts";
import { knownDifferences, outcomeOf, startPair, unexplained } from "./differential.ts";
import { differentialScript, kinds, stormScript } from "./frame-scripts.ts";

const scriptCount = 1_000;

test("the same frames have the same outcome as at node:http2, or one that is known", async () => {
  const pair = await startPair();
  const next = seededRandom(7);
  const random = (max: number): number => Math.floor(next() * max);
  const differing = new Set<string>();
  for (let i = 0; i < scriptCount; i++) {
    const script = differentialScript(random);
    const [ours, node] = await Promise.all([
      outcomeOf(pair.oursPort, script),
      outcomeOf(pair.nodePort, script),
    ]);
    expect(unexplained(script, ours, node)).toEqual([]);
    if (JSON.stringify(ours) !== JSON.stringify(node)) differing.add(script.kind);
  }
  await pair.stop();
  // The table says nothing that is not so.
  const idle = Object.keys(knownDifferences).filter((kind) => !differing.has(kind));
  expect(idle).toEqual([]);
});

test("every kind of frame is known by its name", () => {
  expect(Object.keys(knownDifferences).filter((kind) => kinds[kind] === undefined)).toEqual([]);
});

test("the README's table of differences is that of the tests", () => {
  const readme = readFileSync(new URL("../../src/http2/README.md", import.meta.url), "utf8");
  const section = readme.split("## How it differs from node:http2")[1]?.split("\n## ")[0] ?? "";
  const written = section.split("\n").filter((line) => line.startsWith("| "));
  const words = ({ source }: RegExp): string => source.replace(/[\^$()]/g, "").replace("|", " or ");
  const rows = Object.entries(knownDifferences).map(([kind, { ours, node, why }]) =>
    [kind, words(ours), words(node), why].join(" | "),
  );
  expect(written.slice(2).map((line) => line.replace(/ +/g, " "))).toEqual(
    rows.map((row) => `| ${row} |`),
  );
});

test("storms of frames harm nobody else, and nothing of them stays", async () => {
  // A frame that is cut off is not waited for.
  const pair = await startPair({ tickMs: 5, frameMs: 20 });
  const next = seededRandom(11);
  const random = (max: number): number => Math.floor(next() * max);
  for (let i = 0; i < 300; i++) await outcomeOf(pair.oursPort, stormScript(random));
  await pair.stop();
  expect(pair.ours.faults).toEqual([]);
});
