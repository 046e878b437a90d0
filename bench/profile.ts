// Reads V8's CPU profiles of a server and says where its time went: by function, itself only.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      readonly lineNumber: number;
    };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const linesMax = 40;
const ignored = new Set(["(idle)", "(root)"]);

export function printProfiles(folder: string, say: (line: string) => void): void {
  for (const name of readdirSync(folder).filter((file) => file.endsWith(".cpuprofile"))) {
    say(`\n${name}`);
    for (const line of profileLines(readFileSync(join(folder, name), "utf8"))) say(line);
  }
}

/** The costliest functions: share of the time that was not idle, name and place. */
export function profileLines(text: string): string[] {
  const { nodes, samples, timeDeltas } = JSON.parse(text) as Profile;
  const places = new Map(
    nodes.map(({ id, callFrame }) => {
      const file = callFrame.url.replace(/^.*\/(src|node_modules)\//, "$1/");
      const place = file === "" ? "" : ` ${file}:${callFrame.lineNumber + 1}`;
      return [id, `${callFrame.functionName || "(anonymous)"}${place}`];
    }),
  );
  const own = new Map<string, number>();
  let busy = 0;
  for (const [i, id] of samples.entries()) {
    const place = places.get(id) ?? "(unknown)";
    if (ignored.has(place)) continue;
    const micros = timeDeltas[i] ?? 0;
    own.set(place, (own.get(place) ?? 0) + micros);
    busy += micros;
  }
  const ranked = [...own].toSorted((a, b) => b[1] - a[1]).slice(0, linesMax);
  return ranked.map(
    ([place, micros]) => `${((micros / busy) * 100).toFixed(1).padStart(5)} %  ${place}`,
  );
}
