// Shows the progress of a long command in a line that is rewritten a few times a second, if the
// output is a terminal.

import { grouped } from "./display.ts";
import { print, type Terminal } from "./terminal.ts";

const intervalMs = 200;

export interface ProgressLine {
  /** Reports how much is done of how much, in any unit. Returns at once. */
  tell(words: string, done: number, total: number | undefined): void;
  /** Clears the line. */
  end(): Promise<void>;
}

export function progressOn({ errors }: Terminal): ProgressLine {
  const pace = new ProgressPace();
  let shownAt = Number.NEGATIVE_INFINITY;
  let written: Promise<void> | undefined;
  return {
    tell(words, done, total) {
      const now = performance.now();
      if (errors.isTTY !== true || now - shownAt < intervalMs) return;
      shownAt = now;
      pace.reached(done, now);
      const text = `${words}${shareText(done, total)}${leftText(pace.leftMs(total))}`;
      written = print(errors, `\r\u001B[K${text}`).catch(() => {});
    },
    async end() {
      if (written === undefined) return;
      await written;
      await print(errors, "\r\u001B[K");
    },
  };
}

/** The progress of what goes from position to position. */
export function positionProgress(terminal: Terminal, what: string) {
  const progress = progressOn(terminal);
  return {
    tell(position: number, last: number): void {
      const words = `${what} position ${grouped(position)} of ${grouped(last)}`;
      progress.tell(words, position, last);
    },
    end: () => progress.end(),
  };
}

function shareText(done: number, total: number | undefined): string {
  if (total === undefined || total <= 0) return "";
  return `, ${Math.floor((Math.min(done, total) * 100) / total)} %`;
}

const paceMs = 10_000;
const samplesMax = 20;

/** How fast it went lately: an import that first meets what is stored already goes faster there. */
export class ProgressPace {
  private readonly samples: { readonly done: number; readonly at: number }[] = [];

  reached(done: number, at: number): void {
    const newest = this.samples.at(-1);
    if (newest !== undefined && at - newest.at < paceMs / samplesMax) return;
    this.samples.push({ done, at });
    while (this.samples.length > samplesMax) this.samples.shift();
  }

  /** Undefined: not enough is known. */
  leftMs(total: number | undefined): number | undefined {
    const [oldest] = this.samples;
    const newest = this.samples.at(-1);
    if (total === undefined || oldest === undefined || newest === undefined) return undefined;
    const [done, ms] = [newest.done - oldest.done, newest.at - oldest.at];
    if (done <= 0 || ms < 1_000 || newest.done > total) return undefined;
    return ((total - newest.done) * ms) / done;
  }
}

function leftText(ms: number | undefined): string {
  if (ms === undefined) return "";
  const seconds = Math.ceil(ms / 1_000);
  if (seconds < 100) return `, ${seconds} s left`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 100 ? `, ${minutes} min left` : `, ${Math.ceil(minutes / 60)} h left`;
}
