// `annals copy`: moves a store from a folder into a PostgreSQL database, or back.

import { AnnalsError } from "../../domain/errors.ts";
import { options as serverOptions } from "../../options.ts";
import { CopyRefused } from "../../storage/copy.ts";
import type { StorePlace } from "../../storage/moving/move.ts";
import { sqlState } from "../../storage/postgres/sessions/session.ts";
import {
  CommandError,
  CommandStopped,
  exitCode,
  jsonOption,
  parse,
  UsageError,
} from "../arguments/options.ts";
import { printAnswer } from "../connection/answer.ts";
import { grouped } from "../output/display.ts";
import { progressOn } from "../output/progress.ts";
import { say, type Terminal } from "../output/terminal.ts";

const options = {
  ...jsonOption,
  from: { type: "string" },
  "from-schema": { type: "string" },
  to: { type: "string" },
  "to-schema": { type: "string" },
} as const;

const again = "run the same command again to go on";

export async function copy(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values } = parse(args, options, { min: 0, max: 0 });
  const from = placeOf(values.from, "--from", values["from-schema"]);
  const to = placeOf(values.to, "--to", values["to-schema"]);
  const progress = progressOn(terminal);
  const context = {
    progress: (what: string, position: number, last: number): void => {
      const words = `${what} position ${grouped(position)} of ${grouped(last)}`;
      progress.tell(words, position, last);
    },
    signal: terminal.signal,
    warn: (message: string): void => void say(terminal.errors, `warning: ${message}`),
  };
  const { moveStore } = await import("../../storage/moving/move.ts");
  const outcome = await moveStore(from, to, context).catch(async (error: unknown) => {
    await progress.end();
    if (terminal.signal.aborted)
      throw new CommandStopped(error, `what was copied is kept: ${again}`);
    throw told(error);
  });
  await progress.end();
  if (!("chain" in outcome)) {
    throw new CommandError(
      `servers use the store that is copied: everything up to position ${grouped(outcome.head)} ` +
        `was copied, and the copy is not finished\nstop its servers, and ${again}`,
    );
  }
  const { head, epoch, chain } = outcome;
  const words = `copied and verified; head ${grouped(head)}, chain ${chain}; epoch ${epoch} begins`;
  await printAnswer(terminal, values, outcome, words);
  return exitCode.ok;
}

function placeOf(
  named: string | undefined,
  option: string,
  schema: string | undefined,
): StorePlace {
  if (named === undefined || named === "") {
    throw new UsageError(`${option}: a folder or postgres://... is missing`);
  }
  if (/^postgres(ql)?:\/\//.test(named)) {
    return { url: named, schema: schema ?? serverOptions.storageSchema.initial };
  }
  if (schema !== undefined) throw new UsageError(`${option}-schema: ${named} is a folder`);
  if (named.includes("://")) throw new UsageError(`${option}: a folder or postgres://...`);
  return { folder: named };
}

/** What a database or either end says, without its stack. */
function told(error: unknown): unknown {
  const isOfDatabase = sqlState(error) !== undefined;
  if (!isOfDatabase && !(error instanceof CopyRefused || error instanceof AnnalsError))
    return error;
  return new CommandError((error as Error).message);
}
