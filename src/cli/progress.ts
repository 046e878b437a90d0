// Shows the progress of a long command in a line that is rewritten a few times a second, if the
// output is a terminal.

import { grouped } from "./display.ts";
import { print, type Terminal } from "./terminal.ts";

const intervalMs = 200;

export interface PositionProgress {
  /** Reports the progress. Returns at once. */
  tell(position: number, last: number): void;
  /** Clears the line. */
  end(): Promise<void>;
}

export function positionProgress(terminal: Terminal, what: string): PositionProgress {
  const { errors } = terminal;
  let shownAt = 0;
  let written: Promise<void> | undefined;
  return {
    tell(position, last) {
      const now = performance.now();
      if (errors.isTTY !== true || now - shownAt < intervalMs) return;
      shownAt = now;
      const text = `${what} position ${grouped(position)} of ${grouped(last)}`;
      written = print(errors, `\r\u001B[K${text}`).catch(() => {});
    },
    async end() {
      if (written === undefined) return;
      await written;
      await print(errors, "\r\u001B[K");
    },
  };
}
