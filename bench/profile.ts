// Reads V8's CPU profiles of a server and reports where its time went after the first call: by
// function alone, by functions of this repository with everything they call, and by layer.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Node {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
  readonly children?: readonly number[];
}

interface Profile {
  readonly nodes: readonly Node[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const linesMax = 25;
const ignored = new Set(["(idle)", "(root)"]);
/** This code runs once the first connection exists. Everything before it is start-up. */
const serving = "/src/http2/receiver.ts";

export function printProfiles(folder: string, say: (line: string) => void): void {
  for (const name of readdirSync(folder).filter((file) => file.endsWith(".cpuprofile"))) {
    say(`\n${name}`);
    for (const line of profileLines(readFileSync(join(folder, name), "utf8"))) say(line);
  }
}

/** Shares of the time that was not idle. */
export function profileLines(text: string): string[] {
  const { nodes, samples, timeDeltas } = JSON.parse(text) as Profile;
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((c) => [c, id])));
  const places = new Map(nodes.map((node) => [node.id, placeOf(node)]));
  const own = new Map<string, number>();
  const whole = new Map<string, number>();
  const layers = new Map<string, number>();
  let busy = 0;
  const served = samples.findIndex((id) => byId.get(id)?.callFrame.url.endsWith(serving));
  for (let i = Math.max(0, served); i < samples.length; i++) {
    const id = samples[i] as number;
    const place = places.get(id) ?? "";
    if (ignored.has(place)) continue;
    const micros = timeDeltas[i] ?? 0;
    busy += micros;
    add(own, place, micros);
    add(layers, layerOf(place), micros);
    const seen = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const caller = places.get(at) ?? "";
      if (caller.includes(" src/") && !seen.has(caller)) add(whole, caller, micros);
      seen.add(caller);
    }
  }
  const ranked = (from: ReadonlyMap<string, number>) =>
    [...from]
      .toSorted((a, b) => b[1] - a[1])
      .slice(0, linesMax)
      .map(([place, micros]) => `${((micros / busy) * 100).toFixed(1).padStart(6)} %  ${place}`);
  return [
    "by layer:",
    ...ranked(layers),
    "by function, itself:",
    ...ranked(own),
    "by function of ours, with all it calls:",
    ...ranked(whole),
  ];
}

function add(to: Map<string, number>, key: string, micros: number): void {
  to.set(key, (to.get(key) ?? 0) + micros);
}

function placeOf({ callFrame }: Node): string {
  const { functionName, url, lineNumber } = callFrame;
  const name = functionName || "(anonymous)";
  // grpc-js has source maps that name its own `src`.
  const file =
    /\/(node_modules\/.*)$/.exec(url)?.[1] ?? /^file:.*\/(src\/.*)$/.exec(url)?.[1] ?? url;
  return file === "" ? name : `${name} ${file}:${lineNumber + 1}`;
}

function layerOf(place: string): string {
  const path = place.slice(place.indexOf(" ") + 1);
  const ours = /^src\/(storage\/leveldb|[a-z]+)/.exec(path)?.[1];
  if (ours !== undefined) return `src/${ours}`;
  const packaged = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  if (packaged !== undefined) return packaged;
  return path.startsWith("node:") ? path.replace(/:\d+$/, "") : place;
}
