// The findings of a verification for people: what differs only in names and positions is one line,
// because one damaged block of a table may lack hundreds of entries.

import { counted, grouped } from "../output/display.ts";

const alikeMin = 3;
const namesToldMax = 3;
const names = /"(?:[^"\\]|\\.)*"/g;
const positions = /positions? (\d+)(?: to (\d+))?|positions up to (\d+)/g;
/** Ids, keys, and numbers. */
const particulars = /[0-9a-f]{8}[0-9a-f-]{8,}|\d+/g;

/** In the order in which each kind was found first. */
export function findingLines(findings: readonly string[]): string[] {
  const kinds = new Map<string, string[]>();
  for (const finding of findings) {
    const kind = finding.startsWith("table ") ? finding : kindOf(finding);
    const alike = kinds.get(kind);
    if (alike) alike.push(finding);
    else kinds.set(kind, [finding]);
  }
  return [...kinds.values()].flatMap((alike) =>
    alike.length < alikeMin ? alike : [summary(alike)],
  );
}

function kindOf(finding: string): string {
  return finding.replaceAll(names, '""').replaceAll(particulars, "N");
}

function summary(alike: readonly string[]): string {
  const [first = "", ...others] = alike;
  const where = [...alike.join("\n").matchAll(positions)]
    .flatMap(([, ...numbers]) => numbers.filter((each) => each !== undefined))
    .map(Number);
  const range = `positions ${grouped(Math.min(...where))} to ${grouped(Math.max(...where))}`;
  const told = [...new Set(alike.flatMap((finding) => finding.match(names) ?? []))];
  const rest = told.length - namesToldMax;
  const more = rest > 0 ? [`and ${counted(rest, "other name")}`] : [];
  const about = [
    ...(where.length > 0 ? [range] : []),
    ...(told.length > 1 ? [[...told.slice(0, namesToldMax), ...more].join(", ")] : []),
  ];
  const details = about.length > 0 ? `: ${about.join("; ")}` : "";
  return `${first} (and ${grouped(others.length)} more like it${details})`;
}
