// Draws a row: the value and its limit as bars, each round as a dot, the target as a line.

import type { ResultRow } from "../rows.ts";
import { figure, verdict } from "./table.ts";

const width = 640;
const left = 84;
const right = 96;
const barHeight = 26;
const top = 40;
const gap = 12;
const colours = { value: "#2563eb", limit: "#94a3b8", target: "#b45309", text: "#334155" };

export function chart(row: ResultRow): string {
  const { rounds, title } = row.detail;
  const bars = [
    {
      name: "annals",
      of: row.value,
      dots: rounds.map((round) => round.value),
      colour: colours.value,
    },
  ];
  if (row.limit !== null) {
    const dots = rounds.flatMap((round) => round.limit ?? []);
    bars.push({ name: "limit", of: row.limit, dots, colour: colours.limit });
  }
  const wanted = targetValue(row);
  const most = Math.max(...bars.flatMap((bar) => [bar.of, ...bar.dots]), wanted ?? 0) || 1;
  const x = (value: number) => left + (value / most) * (width - left - right);
  const height = top + bars.length * (barHeight + gap) + 22;
  const parts = bars.flatMap((bar, i) => {
    const y = top + i * (barHeight + gap);
    const middle = y + barHeight / 2;
    return [
      text(left - 8, middle + 4, bar.name, "end"),
      `<rect x="${left}" y="${y}" width="${near(x(bar.of) - left)}" height="${barHeight}" ` +
        `fill="${bar.colour}"/>`,
      ...bar.dots.map(
        (dot) =>
          `<circle cx="${near(x(dot))}" cy="${middle}" r="3" fill="#0f172a" fill-opacity="0.6"/>`,
      ),
      text(Math.max(...[bar.of, ...bar.dots].map(x)) + 8, middle + 4, figure(bar.of), "start"),
    ];
  });
  if (wanted !== undefined) {
    const at = near(x(wanted));
    parts.push(
      `<line x1="${at}" x2="${at}" y1="${top - 6}" y2="${height - 20}" stroke-width="2" ` +
        `stroke="${colours.target}" stroke-dasharray="4 3"/>`,
    );
  }
  const ratio = row.ratio === null ? "" : `ratio ${row.ratio.toFixed(2)}`;
  const target = row.target === null ? "" : `target ${row.target}: ${verdict(row.detail.met)}`;
  const legend = [row.unit, ratio, target].filter((part) => part !== "").join(" · ");
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
      `font-family="system-ui, sans-serif" font-size="13" fill="${colours.text}">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="12" y="22" font-weight="600">${escape(title)}</text>`,
    ...parts,
    text(left, height - 6, legend, "start"),
    "</svg>",
    "",
  ].join("\n");
}

/** The target on the scale of the value. */
function targetValue({ target, limit }: ResultRow): number | undefined {
  const [, of, bound] = /^(ratio|value) [<>]= ([\d.]+)$/.exec(target ?? "") ?? [];
  if (bound === undefined) return undefined;
  if (of === "value") return Number(bound);
  return limit === null ? undefined : Number(bound) * limit;
}

function text(x: number, y: number, content: string, anchor: "start" | "end"): string {
  return `<text x="${near(x)}" y="${near(y)}" text-anchor="${anchor}">${escape(content)}</text>`;
}

function near(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
