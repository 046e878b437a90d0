// `annals context`: keeps, lists and forgets the options of connections under names.

import { resolve } from "node:path";
import { targetOf } from "../../client/rpc/address.ts";
import { connectionOptions, jsonOption, parse, UsageError } from "../arguments/options.ts";
import { contextsOf, keepContext, type ContextOptions } from "../connection/contexts.ts";
import { jsonLine } from "../output/display.ts";
import { rowLines } from "../output/form.ts";
import { say, print, type Terminal } from "../output/terminal.ts";

const { timeout: _, ...kept } = connectionOptions;
const options = { ...kept, ...jsonOption } as const;
type Values = ReturnType<typeof parse<typeof options>>["values"];

export async function context(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options, { min: 0, max: 2 });
  const [verb = "list", name = ""] = positionals;
  const { environment } = terminal;
  if (verb === "list") return list(values, terminal);
  if (name === "") throw new UsageError(`context ${verb}: which one?`);
  if (verb === "add") {
    keepContext(environment, name, optionsOf(values));
    await said(terminal, values, { context: name }, `kept the context ${name}`);
    return 0;
  }
  if (verb !== "remove") throw new UsageError(`context: there is no "${verb}": list, add, remove`);
  const wasThere = Object.hasOwn(contextsOf(environment), name);
  keepContext(environment, name, undefined);
  const text = wasThere ? `removed the context ${name}` : `there was no context ${name}`;
  await said(terminal, values, { context: name, removed: wasThere }, text);
  return 0;
}

/** What is kept does not depend on the folder in which a command runs. */
function optionsOf({ json: _json, ...values }: Values): ContextOptions {
  if (values.address === undefined) throw new UsageError("context add: --address is missing");
  try {
    targetOf(values.address);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
  const isFile = (option: string) => /^(tls-ca|tls-cert|tls-key|token-file)$/.test(option);
  const entries = Object.entries(values).map(([option, value]) => {
    return [option, typeof value === "string" && isFile(option) ? resolve(value) : value] as const;
  });
  return Object.fromEntries(entries.filter((entry) => entry[1] !== undefined));
}

async function list(values: Values, terminal: Terminal): Promise<number> {
  const contexts = Object.entries(contextsOf(terminal.environment));
  if (values.json === true) {
    const lines = rowLines(terminal);
    const rows = contexts.map(([name, given]) => jsonLine({ context: name, options: given }));
    await print(terminal.output, lines.some(rows) + lines.end);
    return 0;
  }
  if (contexts.length === 0) {
    await say(
      terminal.errors,
      "no contexts; `annals context add NAME --address ADDRESS` keeps one",
    );
  }
  for (const [name, given] of contexts) {
    const flags = Object.entries(given).map(([option, value]) => {
      return value === true ? `--${option}` : `--${option} ${value}`;
    });
    await say(terminal.output, `${name}  ${flags.join(" ")}`);
  }
  return 0;
}

async function said(terminal: Terminal, values: Values, json: object, text: string): Promise<void> {
  if (values.json === true) await print(terminal.output, jsonLine(json));
  else await say(terminal.output, text);
}
