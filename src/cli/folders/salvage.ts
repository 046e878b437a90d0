// `annals salvage`: makes a new store of what a damaged one still has. What is lost is named first,
// and has to be accepted by the token that stands for it, or by --yes.

import type { SalvageReport } from "../../storage/leveldb/offline/salvage.ts";
import { escaped, escapedLines } from "../../escape.ts";
import { counted, grouped, jsonLine } from "../output/display.ts";
import { exitCode, jsonOption, parse } from "../arguments/options.ts";
import { progressOn } from "../output/progress.ts";
import { print, type Terminal } from "../output/terminal.ts";

const options = {
  ...jsonOption,
  yes: { type: "boolean" },
  "accept-loss": { type: "string" },
} as const;

export async function salvage(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 2, max: 2 });
  const [folder = "", target = ""] = positionals;
  const isJson = values.json === true;
  const { planSalvage } = await import("../../storage/leveldb/offline/salvage.ts");
  const progress = progressOn(terminal);
  const tell = (position: number, last?: number): void =>
    progress.tell(`looked through position ${grouped(position)}`, position, last);
  try {
    const plan = await planSalvage({
      folder,
      signal: terminal.signal,
      progress: (position) => tell(position),
    });
    try {
      const { report } = plan;
      const isAccepted = values.yes === true || values["accept-loss"] === report.token;
      if (!isJson) {
        await progress.end();
        await print(terminal.output, reportText(report));
      }
      if (report.losses.length > 0 && !isAccepted) {
        const ask =
          `nothing was written; to make the store without them, run\n` +
          `annals salvage ${folder} ${target} --accept-loss ${report.token}\n`;
        await print(
          terminal.output,
          isJson ? jsonLine({ made: false, ...report }) : escapedLines(ask),
        );
        return exitCode.failure;
      }
      const made = await plan.build(target, (position) => tell(position, report.head));
      await progress.end();
      const findings = made.findings.map((finding) => `found: ${finding}\n`).join("");
      const verdict = made.findings.length === 0 ? "sound" : "NOT SOUND";
      const text =
        `${findings}made ${target}: store ${made.storeId}, head ${grouped(made.head)}, ` +
        `${counted(report.events, "event")}, ${verdict}\n` +
        `a new epoch begins: positions after ${grouped(made.epochAfter)} that were read from ` +
        `${folder} are refused\n`;
      const json = jsonLine({ made: true, ...report, store: made });
      await print(terminal.output, isJson ? json : escapedLines(text));
      return made.findings.length === 0 ? exitCode.ok : exitCode.failure;
    } finally {
      await plan.close();
    }
  } finally {
    await progress.end();
  }
}

function reportText({ damages, events, head, sideValues, losses }: SalvageReport): string {
  const counts = Object.entries(sideValues).map(([space, count]) => `${grouped(count)} ${space}`);
  const beside = counts.length === 0 ? "none" : counts.join(", ");
  return [
    ...damages.map((damage) => `damaged: ${damage}`),
    `there: ${counted(events, "event")} up to position ${grouped(head)}; side values: ${beside}`,
    ...losses.map((loss) => `lost: ${loss}`),
    ...(damages.length > 0 ? [sideValueAdvice] : []),
  ]
    .map((line) => `${escaped(line)}\n`)
    .join("");
}

const sideValueAdvice =
  "side values (checkpoints, snapshots, consumer groups) that were in what is damaged may be " +
  "missing or older";
