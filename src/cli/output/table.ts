// Tables that are printed while their rows arrive. Rows come in groups, columns only become wider,
// and the last column takes the rest of the terminal's width.

import { escaped } from "../../escape.ts";
import { displayWidth, fitted, padded } from "./display.ts";
import { paintFor, widthOf, type Output, type Terminal } from "./terminal.ts";

export interface Column {
  readonly title: string;
  /** Numbers are aligned to the right. */
  readonly side: "left" | "right";
  /** On a terminal, cells are cut to this many columns. */
  readonly columnsMax?: number;
  /** On a narrow terminal, this column and those after it go on a second line. */
  readonly wraps?: boolean;
  /** Only with `--wide`. */
  readonly isExtra?: boolean;
}

const gap = "  ";
const indent = " ".repeat(4);
/** A terminal of fewer columns is narrow. */
const wideMin = 140;

/** Lays out groups of rows. The titles come before the first group. */
export function tableOn(output: Output, terminal: Terminal, all: readonly Column[]) {
  const isWide = terminal.isWide === true;
  const isShown = all.map(({ isExtra }) => isWide || isExtra !== true);
  const columns = all.filter((_, index) => isShown[index]);
  const terminalWidth = isWide ? Number.POSITIVE_INFINITY : widthOf(output);
  const paint = paintFor(output, terminal);
  const wrapsAt = columns.findIndex(({ wraps }) => wraps === true);
  const inLine = wrapsAt < 0 || terminalWidth >= wideMin ? columns.length : wrapsAt;
  const widths = columns.map(() => 0);
  const cut = (text: string, column: number) => {
    const max = columns[column]?.columnsMax;
    return max === undefined || column >= inLine || terminalWidth === Number.POSITIVE_INFINITY
      ? text
      : fitted(text, max);
  };
  let titled = false;

  const line = (cells: readonly string[]): string => {
    let text = "";
    const together = cells.slice(0, inLine);
    for (const [index, cell] of together.entries()) {
      const last = index === together.length - 1;
      const side = columns[index]?.side ?? "left";
      const width = widths[index] ?? 0;
      text += last && side === "left" ? cell : padded(cell, width, side) + (last ? "" : gap);
    }
    const rest = cells.slice(inLine).filter((cell) => cell !== "");
    const lines = rest.length === 0 ? [text] : [text, indent + rest.join(gap)];
    return lines.map((each) => fitted(each, terminalWidth).trimEnd()).join("\n");
  };

  return (rows: readonly (readonly string[])[]): string => {
    const cells = rows.map((row) => {
      return row.filter((_, index) => isShown[index]).map((cell, i) => cut(escaped(cell), i));
    });
    const titles = columns.map(({ title }) => title);
    for (const row of titled ? cells : [titles, ...cells]) {
      for (const [index, cell] of row.entries()) {
        widths[index] = Math.max(widths[index] ?? 0, displayWidth(cell));
      }
    }
    const lines = cells.map(line);
    if (!titled) lines.unshift(paint.dim(line(titles)));
    titled = true;
    return lines.map((text) => `${text}\n`).join("");
  };
}

/** Names and values, one pair per line. */
export function pairsOf(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => displayWidth(name)));
  return entries
    .map(([name, value]) => `${padded(name, width, "left")}${gap}${escaped(value)}\n`)
    .join("");
}
