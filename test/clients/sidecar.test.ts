// The example of a service with Annals beside it, by the one command its page names.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { cacheRoot, missingTool } from "./build-cache.ts";
import { repository } from "./live-server.ts";
import { notRun, printReport, ran } from "./report.ts";
import { languages } from "./toolchains.ts";

let state: string;
let example: ChildProcess | undefined;
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), "annals-sidecar-"));
});
afterEach(() => {
  // The whole group: the script, the service and Annals.
  if (example?.pid !== undefined && example.exitCode === null)
    process.kill(-example.pid, "SIGKILL");
  rmSync(state, { recursive: true, force: true });
});
afterAll(printReport);

/** Starts service and store; answers the service's address. */
async function start(): Promise<string> {
  const build = join(cacheRoot(), "sidecar");
  mkdirSync(build, { recursive: true });
  const child = spawn(join(repository, "examples/sidecar/run.sh"), {
    env: { ...process.env, STATE: state, BUILD: build, PORT: "0" },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  example = child;
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  for await (const line of createInterface({ input: child.stdout })) {
    const address = /^orders serves on (.+)$/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error(`the example ended before it served:\n${log}`);
}

async function stop(): Promise<number | null> {
  if (example === undefined) throw new Error("nothing runs");
  const ended = once(example, "exit");
  example.kill("SIGTERM");
  await ended;
  return example.exitCode;
}

async function post(url: string, body: unknown = {}): Promise<unknown> {
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  return [answer.status, await answer.json()];
}

async function get(url: string): Promise<unknown> {
  return (await fetch(url)).json();
}

test("orders are placed once, paid, projected, found again after a restart", async (context) => {
  const { skip } = context;
  const python = languages.find(({ name }) => name === "python");
  const missing = python && (await missingTool(python));
  if (missing !== undefined) {
    notRun("sidecar", missing);
    skip(`not run: ${missing}`);
  }
  const since = performance.now();
  const order = { customer: "ada", total: 10 };
  let url = await start();
  expect(await post(`${url}/orders/1`, order)).toEqual([200, { position: 1 }]);
  expect(await post(`${url}/orders/1`, order)).toEqual([200, { position: 1 }]);
  expect(await post(`${url}/orders/1`, { ...order, total: 11 })).toMatchObject([409, {}]);
  expect(await post(`${url}/orders/2/pay`)).toMatchObject([409, {}]);
  expect(await post(`${url}/orders/2`, { customer: "ada" })).toMatchObject([400, {}]);
  expect(await post(`${url}/orders/1/pay`)).toEqual([200, { position: 2 }]);
  expect(await post(`${url}/orders/1/pay`)).toEqual([200, { position: 2 }]);
  expect(await get(`${url}/customers?seen=2`)).toEqual({ seen: 2, paid: { ada: 10 } });
  expect(await stop()).toBe(0);

  url = await start();
  expect(await get(`${url}/customers?seen=2`)).toEqual({ seen: 2, paid: { ada: 10 } });
  expect(await post(`${url}/orders/2`, order)).toEqual([200, { position: 3 }]);
  expect(await get(`${url}/customers?seen=3`)).toEqual({ seen: 3, paid: { ada: 10 } });
  expect(await post(`${url}/orders/2/pay`)).toEqual([200, { position: 4 }]);
  expect(await get(`${url}/customers?seen=4`)).toEqual({ seen: 4, paid: { ada: 20 } });
  expect(await stop()).toBe(0);
  ran("sidecar", undefined, (performance.now() - since) / 1_000);
});
