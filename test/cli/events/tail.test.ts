// `tail`: the last events, then every later one exactly once, across a server that is killed.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jsonLines, run, type Situation } from "../captured-terminal.ts";
import { startServer, temporaryFolder, type RunningServer } from "../running-server.ts";

const folder = temporaryFolder();
let at: RunningServer;
beforeAll(async () => {
  at = await startServer(join(folder, "data"));
});
afterAll(() => at.stop());

function annals(argv: readonly string[], situation: Situation = {}) {
  return run(argv, { ...situation, environment: { ANNALS_ADDRESS: at.address } });
}

async function append(stream: string, from: number, to: number) {
  const lines = Array.from({ length: to - from + 1 }, (_, index) =>
    JSON.stringify({ stream, type: "Counted", json: from + index }),
  );
  const namespace = `${stream}:${from}`;
  await annals(["import", "--namespace", namespace], { input: lines.join("\n") });
}

function numbersIn(output: string): unknown[] {
  return jsonLines(output.slice(0, output.lastIndexOf("\n") + 1)).map(({ json }) => json);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** `tail -f` in the background, with a promise for having printed so many events. */
function following(argv: readonly string[]) {
  const stop = new AbortController();
  let output = "";
  let errors = "";
  let check = () => {};
  const onErrors = (text: string) => (errors = text);
  const onOutput = (text: string) => {
    output = text;
    check();
  };
  const situation = { signal: stop.signal, onOutput, onErrors };
  const done = annals(["tail", "-f", "--json", ...argv], situation);
  const printed = (count: number) =>
    new Promise<unknown[]>((resolve) => {
      check = () => {
        const numbers = numbersIn(output);
        if (numbers.length >= count) resolve(numbers);
      };
      check();
    });
  return { done, printed, errors: () => errors, stop: () => stop.abort() };
}

describe("tail", () => {
  test("prints the last events, oldest first", async () => {
    await append("a-1", 1, 30);
    await append("b-1", 100, 105);
    const last = async (...argv: string[]) =>
      numbersIn((await annals(["tail", "--json", ...argv])).output);
    expect(await last()).toEqual([...range(27, 30), ...range(100, 105)]);
    expect(await last("-n", "3", "a-1")).toEqual(range(28, 30));
    expect(await last("-n", "100", "--prefix", "b-")).toEqual(range(100, 105));
    expect(await last("-n", "0")).toEqual([]);
    expect(await last("c-1")).toEqual([]);
  });

  test("-f goes on with what happens after, and ends at Ctrl-C", async () => {
    await append("live-1", 1, 5);
    const tail = following(["live-1", "-n", "2"]);
    expect(await tail.printed(2)).toEqual([4, 5]);
    await append("livex-1", 50, 60);
    await append("live-1", 6, 9);
    expect(await tail.printed(6)).toEqual(range(4, 9));
    tail.stop();
    expect((await tail.done).code).toBe(130);
  });

  test("-f -n 0 begins with what comes next", async () => {
    await append("next-1", 1, 5);
    const tail = following(["-n", "0", "--prefix", "next-"]);
    const subscribed = async () => {
      const { output } = await annals(["info", "--json"]);
      return (jsonLines(output)[0] as { subscriberCount?: number }).subscriberCount ?? 0;
    };
    await expect.poll(subscribed, { timeout: 20_000 }).toBe(1);
    await append("next-1", 6, 7);
    expect(await tail.printed(2)).toEqual([6, 7]);
    tail.stop();
    await tail.done;
  });

  test("-f outlives a server that is killed, without a gap or a duplicate", async () => {
    const tail = following(["--prefix", "kill-", "-n", "100"]);
    let last = 0;
    for (let round = 0; round < 2; round += 1) {
      await append("kill-1", last + 1, last + 40);
      last += 40;
      if (round === 1) await tail.printed(last);
      await at.kill();
      await at.start();
    }
    await append("kill-1", last + 1, last + 1);
    expect(await tail.printed(last + 1)).toEqual(range(1, last + 1));
    tail.stop();
    const { errors } = await tail.done;
    expect(errors).toContain("trying again after position");
  });

  test("-f waits for a server that is not up yet", async () => {
    await append("early-1", 1, 3);
    await at.stop();
    const tail = following(["--prefix", "early-"]);
    await expect.poll(() => tail.errors(), { timeout: 20_000 }).toContain("; trying again\n");
    await at.start();
    expect(await tail.printed(3)).toEqual([1, 2, 3]);
    await append("early-1", 4, 4);
    expect(await tail.printed(4)).toEqual([1, 2, 3, 4]);
    tail.stop();
    expect((await tail.done).code).toBe(130);
    await at.stop();
    const once = await annals(["tail"]);
    await at.start();
    expect(once.code).toBe(1);
    expect(once.errors).toMatch(/^error: no server at /);
  });

  test("-f refuses to go on in another store behind the same address", async () => {
    await append("swap-1", 1, 5);
    const tail = following(["--prefix", "swap-"]);
    await tail.printed(5);
    await at.kill();
    await at.start(join(folder, "another"));
    const { code, errors } = await tail.done;
    expect(code).toBe(1);
    expect(errors).toContain("the store was replaced");
  });
});
