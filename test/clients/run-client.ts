// Runs a built client against a server of its own and answers the lines it printed.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { startLiveServer, type Transport } from "./live-server.ts";
import type { Facts } from "./conversation.ts";

const conversationMsMax = 240_000;

/** Throws where the client failed, or did not end in time; the error tells what it had said. */
export async function runClient(
  command: readonly string[],
  folder: string,
  transport: Transport,
  flags: readonly string[] = [],
  variables: Readonly<Record<string, string | number>> = {},
): Promise<Facts[]> {
  const server = await startLiveServer(transport, flags);
  try {
    const env = { ...variables, ANNALS_ADDRESS: server.address };
    return await converse(command, folder, env, () => server.restart());
  } finally {
    await server.stop();
  }
}

/** Runs a client against a server that is there. */
export async function converse(
  [program = "", ...args]: readonly string[],
  folder: string,
  variables: Readonly<Record<string, string | number>>,
  restart: () => Promise<void>,
): Promise<Facts[]> {
  const own = Object.entries(variables).map(([name, value]) => [name, String(value)]);
  const env = { ...process.env, ...(Object.fromEntries(own) as Record<string, string>) };
  const client = spawn(program, args, { cwd: folder, env });
  let complaints = "";
  client.stderr.setEncoding("utf8").on("data", (text: string) => (complaints += text));
  const exit = new Promise<string>((resolve) => {
    client.once("error", (error) => resolve(error.message));
    client.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const overdue = setTimeout(() => client.kill("SIGKILL"), conversationMsMax);
  const lines: Facts[] = [];
  try {
    for await (const line of createInterface({ input: client.stdout })) {
      if (line === "RESTART") {
        await restart();
        client.stdin.write("restarted\n");
      } else if (line !== "") {
        lines.push(JSON.parse(line) as Facts);
      }
    }
    const how = await exit;
    if (how === "exit code 0") return lines;
    const said = lines.map((line) => JSON.stringify(line)).join("\n");
    throw new Error(`the client ended with ${how}\n${complaints}\nafter it had said\n${said}`);
  } finally {
    clearTimeout(overdue);
    client.kill("SIGKILL");
  }
}
