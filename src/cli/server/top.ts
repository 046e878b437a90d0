// `annals top`: what a server is doing, from its metrics: rates, latencies, queues, the lag of
// groups, memory and disk. A terminal is rewritten at every look; anything else gets each as text.

import { setTimeout as pause } from "node:timers/promises";
import {
  CommandError,
  connectionOptions,
  durationMs,
  jsonOption,
  parse,
  UsageError,
} from "../arguments/options.ts";
import { getText } from "../connection/http-get.ts";
import { serverOf, timeoutDefaultMs } from "../connection/session.ts";
import { jsonLine } from "../output/display.ts";
import { refuseArray } from "../output/form.ts";
import { paintFor, print, type Terminal } from "../output/terminal.ts";
import { escaped } from "../../escape.ts";
import { MetricsText } from "./metrics-text.ts";
import { figuresBetween, type TopFigures } from "./top-figures.ts";
import { topScreen } from "./top-screen.ts";

const options = {
  ...connectionOptions,
  ...jsonOption,
  every: { type: "string" },
  once: { type: "boolean" },
} as const;

const everyDefaultMs = 2_000;
/** The server answers looks within a second with the same figures. */
const everyMinMs = 1_000;
/** Lines of a screen beside the two tables. */
const otherLines = 16;

const screen = { open: "\u001B[?1049h\u001B[?25l", close: "\u001B[?25h\u001B[?1049l" };
const home = "\u001B[H";
const clearLine = "\u001B[K";
const clearBelow = "\u001B[J";

/** Runs until Ctrl-C, or for one look at what happens in an interval with `--once`. */
export async function top(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 1 });
  const [address = values.address] = positionals;
  const everyMs = values.every === undefined ? everyDefaultMs : durationMs(values.every, "--every");
  if (everyMs < everyMinMs) throw new UsageError(`--every: at least 1s, and not ${values.every}`);
  const server = serverOf({ ...values, address }, terminal.environment);
  const timeoutMs =
    values.timeout === undefined ? timeoutDefaultMs : durationMs(values.timeout, "--timeout");
  const { signal, output } = terminal;
  const look = async () => metricsOf(await getText(server, "/metrics", { signal, timeoutMs }));
  const json = values.json === true;
  const show = (figures: TopFigures): string =>
    json
      ? jsonLine(figures)
      : `${topScreen(figures, server.address, terminal, Number.POSITIVE_INFINITY)}\n`;
  if (values.once !== true) refuseArray(terminal, "top without --once");
  const isScreen = output.isTTY === true && !json && values.once !== true;
  if (isScreen) {
    await onScreen(terminal, server.address, everyMs, look);
    return 0;
  }
  let before = await look();
  for (let count = 0; count === 0 || values.once !== true;) {
    await pause(everyMs, undefined, { signal });
    const after = await look();
    const figures = figuresBetween(before, after);
    before = after;
    if (figures === undefined) continue;
    await print(output, `${count > 0 && !json ? "\n" : ""}${show(figures)}`);
    count += 1;
  }
  return 0;
}

/** The first look must succeed; later ones are tried again, and the screen says so. */
async function onScreen(
  terminal: Terminal,
  address: string,
  everyMs: number,
  look: () => Promise<MetricsText>,
): Promise<void> {
  const { output, signal } = terminal;
  const paint = paintFor(output, terminal);
  let before = await look();
  /** Undefined: there are none for this time. */
  const next = async (): Promise<TopFigures | undefined> => {
    const after = await look();
    const figures = figuresBetween(before, after);
    before = after;
    return figures;
  };
  let text = `${escaped(address)}: the first figures come in ${everyMs / 1_000} s`;
  let trouble = "";
  await print(output, screen.open);
  try {
    for (;;) {
      const last = trouble === "" ? paint.dim("Ctrl-C ends") : paint.red(trouble);
      await print(output, screenful(`${text}\n\n${last}`, output.rows));
      await pause(everyMs, undefined, { signal });
      const figures = await next().catch((error: unknown) => toldIn(error, signal));
      trouble = typeof figures === "string" ? figures : "";
      if (typeof figures !== "object") continue;
      const rows = Math.max(3, Math.floor(((output.rows ?? 40) - otherLines) / 2));
      text = topScreen(figures, address, terminal, rows);
    }
  } finally {
    await print(output, screen.close).catch(() => {});
  }
}

/** A look that failed and is tried again. */
function toldIn(error: unknown, signal: AbortSignal): string {
  if (signal.aborted || !(error instanceof CommandError)) throw error;
  const [said = ""] = error.message.split("\n");
  return `${escaped(said)}; trying again`;
}

/** From the first line on, without what does not fit. */
function screenful(text: string, rows = Number.POSITIVE_INFINITY): string {
  const lines = text.split("\n").slice(0, rows - 1);
  return `${home}${lines.map((line) => `${line}${clearLine}\n`).join("")}${clearBelow}`;
}

function metricsOf({ status, text }: { readonly status: number; readonly text: string }) {
  const metrics = new MetricsText(text);
  if (status === 200 && metrics.has("annals_build_info")) return metrics;
  const [said = ""] = text.trim().split("\n");
  switch (status) {
    case 401:
      throw new CommandError(
        `the server asks who looks: ${said}\n` +
          "give a token of the role observer: --token-file FILE, or $ANNALS_TOKEN_FILE",
      );
    case 403:
      throw new CommandError(`${said}\nfigures need the permission observe: the role observer`);
    case 404:
      throw new CommandError("there are no metrics: the server was started with --no-metrics");
    default:
      throw new CommandError(
        status === 200 ? "its /metrics are not those of annals" : `/metrics: ${status} ${said}`,
      );
  }
}
