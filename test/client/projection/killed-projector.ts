// The scenario of the crash tests: payments are appended while the process that projects them is
// killed again and again, and the server once; in the end the read model has each of them once.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { connect, defineEvents, type AnnalsClient } from "../../../src/client/sdk.ts";
import type { RunningServer } from "../../cli/running-server.ts";
import type { Paid } from "./projector.ts";

const script = fileURLToPath(new URL("projector.ts", import.meta.url));

export interface Scenario {
  readonly server: RunningServer;
  readonly kind: "sqlite" | "postgres";
  readonly where: string;
  readonly kills: number;
  readonly paymentCount: number;
  /** Delay how many commits the projector is killed, each time. */
  readonly commitsUntilKill: (kill: number) => number;
}

export interface ReadModelContent {
  readonly positions: readonly number[];
  readonly totals: Readonly<Record<string, number>>;
}

/** Answers what the read model must hold in the end. */
export async function killedAgainAndAgain(scenario: Scenario): Promise<ReadModelContent> {
  const { server, paymentCount, kills } = scenario;
  const events = defineEvents<Paid>();
  const retry = { attemptsMax: 1_000, delayMaxMs: 200 };
  const client = connect({ address: server.address, events, retry, timeoutMs: 60_000 });
  const half = Math.floor(paymentCount / 2);
  try {
    await pay(client, 0, half);
    const paying = pay(client, half, paymentCount);
    for (let kill = 0; kill < kills; kill += 1) {
      const projector = start(scenario);
      const commits = scenario.commitsUntilKill(kill);
      await seen(projector, (_, count) => count > commits);
      await end(projector);
      if (kill === Math.floor(kills / 2)) {
        await server.kill();
        await server.start();
      }
    }
    await paying;
    const { head } = await client.info();
    const last = start(scenario);
    await seen(last, (line) => line === `live ${head}`);
    await end(last);
    const totals: Record<string, number> = {};
    const positions: number[] = [];
    for await (const { stream, position, data } of client.read()) {
      positions.push(position);
      totals[stream] = (totals[stream] ?? 0) + data.cents;
    }
    return { positions, totals };
  } finally {
    client.close();
  }
}

async function pay(client: AnnalsClient<Paid>, from: number, to: number): Promise<void> {
  const appender = client.appender({ window: 8 });
  for (let cents = from; cents < to; cents += 1) {
    await appender.append(`account-${cents % 5}`, { type: "Paid", data: { cents } });
  }
  await appender.close();
}

function start({ server, kind, where }: Scenario): ChildProcess {
  const args = [script, server.address, kind, where];
  return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
}

/** Reads what the projector says until it says what is waited for. */
async function seen(
  projector: ChildProcess,
  enough: (line: string, count: number) => boolean,
): Promise<void> {
  let count = 0;
  if (projector.stdout === null) throw new Error("nothing is heard of the projector");
  for await (const line of createInterface(projector.stdout)) {
    count += 1;
    if (enough(line, count) || line.startsWith("live")) return;
  }
  throw new Error(`the projector ended by itself after ${count} lines`);
}

async function end(projector: ChildProcess): Promise<void> {
  if (projector.exitCode !== null) throw new Error("the projector ended by itself");
  projector.kill("SIGKILL");
  await once(projector, "exit");
}
