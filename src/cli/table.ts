// Tables that are printed while their rows arrive. Rows come in groups, columns only become wider,
// and the last column takes the rest of the terminal's width.

import { disarmed, displayWidth, fitted, padded } from "./display.ts";
import { paintFor, widthOf, type Output, type Terminal } from "./terminal.ts";

export interface Column {
  readonly title: string;
  /** Numbers are aligned to the right. */
  readonly side: "left" | "right";
  /** On a terminal, cells are cut to this many columns. */
  readonly columnsMax?: number;
}

const gap = "  ";

/** Lays out groups of rows. The titles come before the first group. */
export function tableOn(output: Output, terminal: Terminal, columns: readonly Column[]) {
  const terminalWidth = widthOf(output);
  const paint = paintFor(output, terminal);
  const widths = columns.map(() => 0);
  const cut = (text: string, column: number) => {
    const max = columns[column]?.columnsMax;
    return max === undefined || terminalWidth === Number.POSITIVE_INFINITY
      ? text
      : fitted(text, max);
  };
  let titled = false;

  const line = (cells: readonly string[]): string => {
    let text = "";
    for (const [index, cell] of cells.entries()) {
      const last = index === cells.length - 1;
      const side = columns[index]?.side ?? "left";
      const width = widths[index] ?? 0;
      text += last && side === "left" ? cell : padded(cell, width, side) + (last ? "" : gap);
    }
    return fitted(text, terminalWidth);
  };

  return (rows: readonly (readonly string[])[]): string => {
    const cells = rows.map((row) => row.map((cell, index) => cut(disarmed(cell), index)));
    const titles = columns.map(({ title }) => title);
    for (const row of titled ? cells : [titles, ...cells]) {
      for (const [index, cell] of row.entries()) {
        widths[index] = Math.max(widths[index] ?? 0, displayWidth(cell));
      }
    }
    const lines = cells.map(line);
    if (!titled) lines.unshift(paint.dim(line(titles)));
    titled = true;
    return lines.map((text) => `${text.trimEnd()}\n`).join("");
  };
}

/** Names and values, one pair per line. */
export function pairsOf(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([name]) => displayWidth(name)));
  return entries
    .map(([name, value]) => `${padded(name, width, "left")}${gap}${disarmed(value)}\n`)
    .join("");
}
