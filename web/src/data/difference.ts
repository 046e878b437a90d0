// How one state differs from another, as lines to be shown below one another.

import { compact, isLeaf, partsOf, type Json } from "./exact-json.ts";

export interface DifferenceLine {
  readonly kind: "same" | "added" | "removed";
  readonly depth: number;
  /** The name within the object or array around it. Empty: the outermost value. */
  readonly name: string;
  readonly text: string;
}

/** Undefined: there is no such value. */
export function differences(before: Json | undefined, after: Json | undefined): DifferenceLine[] {
  const lines: DifferenceLine[] = [];
  compare({ name: "", depth: 0, lines }, before, after);
  return lines;
}

interface Place {
  readonly name: string;
  readonly depth: number;
  readonly lines: DifferenceLine[];
}

function compare(place: Place, before: Json | undefined, after: Json | undefined): void {
  const { name, depth, lines } = place;
  if (before !== undefined && after !== undefined) {
    const texts = [compact(before), compact(after)] as const;
    if (texts[0] === texts[1])
      return void lines.push({ kind: "same", depth, name, text: texts[0] });
    if (before.kind === after.kind && !isLeaf(before)) return within(place, before, after);
  }
  if (before !== undefined) whole(place, "removed", before);
  if (after !== undefined) whole(place, "added", after);
}

/** Both are objects, or both are arrays. */
function within({ name, depth, lines }: Place, before: Json, after: Json): void {
  const [open, close] = before.kind === "object" ? ["{", "}"] : ["[", "]"];
  lines.push({ kind: "same", depth, name, text: open });
  const [old, now] = [new Map(partsOf(before)), new Map(partsOf(after))];
  for (const part of new Set([...old.keys(), ...now.keys()])) {
    compare({ name: part, depth: depth + 1, lines }, old.get(part), now.get(part));
  }
  lines.push({ kind: "same", depth, name: "", text: close });
}

function whole({ name, depth, lines }: Place, kind: "added" | "removed", value: Json): void {
  lines.push({ kind, depth, name, text: compact(value) });
}
