// `annals ui`: prints the address of the console, the page that the server shows to browsers, and
// opens it where that is asked for.

import { spawn } from "node:child_process";
import { targetOf } from "../../client/rpc/address.ts";
import { jsonLine } from "../output/display.ts";
import { CommandError, jsonOption, parse, UsageError } from "../arguments/options.ts";
import { ownServer } from "../connection/own-server.ts";
import { say, type Terminal } from "../output/terminal.ts";

const options = {
  address: { type: "string", short: "a" },
  tls: { type: "boolean" },
  open: { type: "boolean" },
  ...jsonOption,
} as const;

/** By platform: the program that opens an address in the user's browser. */
const openers: Readonly<Record<string, readonly string[]>> = {
  darwin: ["open"],
  win32: ["explorer.exe"],
};

/** Prints the page's address. It does not ask whether the server is there: the browser will say. */
export async function ui(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values } = parse(args, options, { min: 0, max: 0 });
  const own = ownServer(terminal.environment);
  const hasTls = values.tls ?? (values.address === undefined && own.tls !== undefined);
  const url = pageOf(values.address ?? own.address, hasTls);
  await say(terminal.output, values.json === true ? jsonLine({ url }).trimEnd() : url);
  if (values.open === true) await open(url);
  return 0;
}

function pageOf(address: string, hasTls: boolean): string {
  let target: string;
  try {
    target = targetOf(address);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
  if (target.startsWith("unix:")) {
    throw new UsageError(
      `a browser cannot reach ${address}: forward a port to it, for example with ` +
        `\`ssh -L 7420:${target.slice("unix:".length)} HOST\``,
    );
  }
  return `${hasTls ? "https" : "http"}://${target.slice("dns:".length)}/`;
}

function open(url: string): Promise<void> {
  const [program = "xdg-open", ...given] = openers[process.platform] ?? [];
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...given, url], { stdio: "ignore", detached: true });
    child.once("spawn", () => {
      child.unref();
      resolve();
    });
    child.once("error", (cause) => {
      reject(new CommandError(`${program}: ${cause.message}; open ${url} yourself`, { cause }));
    });
  });
}
