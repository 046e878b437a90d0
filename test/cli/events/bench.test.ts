// `annals bench` against a real server: what it counts is what the store then has.
import { expect, test } from "vitest";
import { startTestServer } from "../../support/running-server.ts";
import { jsonLines, run } from "../captured-terminal.ts";

interface Figures {
  readonly calls: number;
  readonly events: number;
  readonly errors: object;
}

test("appends, reads and subscribes at once, and counts what the store then has", async () => {
  const server = await startTestServer();
  const at = ["--address", server.address];
  const load = ["--in-flight", "4", "--batch", "3", "--reads", "2", "--subscribers", "2"];
  const where = ["--streams", "5", "--stream-prefix", "load-"];
  const { code, output, errors } = await run([
    "bench",
    server.address,
    ...load,
    ...where,
    "--seconds",
    "1",
    "--json",
  ]);
  const listed = jsonLines((await run(["streams", "--json", ...at])).output);
  const [event] = jsonLines(
    (await run(["read", "load-0", "--limit", "1", "--json", ...at])).output,
  );
  await server.stop();
  expect(code).toBe(0);
  expect(errors).toContain("the streams load-0 to load-4, which stay");
  const [figures] = jsonLines(output);
  const { appends, reads, deliveries } = figures as Record<string, Figures>;
  // One append before the time begins shows whether anything works.
  const count = listed.reduce((sum, { eventCount }) => sum + Number(eventCount), 0);
  expect(appends?.events).toBe(count - 3);
  expect(appends?.calls).toBe((count - 3) / 3);
  expect(deliveries?.events).toBe(2 * (count - 3));
  expect(reads?.calls).toBeGreaterThan(0);
  expect(figures).toMatchObject({ missing: 0, appends: { errors: {}, p99Ms: expect.any(Number) } });
  expect(listed.map(({ stream }) => stream)).toEqual([0, 1, 2, 3, 4].map((i) => `load-${i}`));
  // The time in it has as many digits as it needs.
  expect(JSON.stringify(event?.["json"])).toMatch(/^.{190,200}$/);
});

test("leaves a store that has events alone, unless it is told otherwise", async () => {
  const server = await startTestServer();
  const at = ["--address", server.address];
  await run(["append", "order-1", "Placed", "{}", ...at]);
  const argv = ["bench", ...at, "--in-flight", "1", "--seconds", "1"];
  const refused = await run(argv);
  const alone = jsonLines((await run(["streams", "--json", ...at])).output);
  const asked = await run([...argv, "--yes"]);
  const reading = await run([
    "bench",
    ...at,
    "--in-flight",
    "0",
    "--reads",
    "1",
    "--stream-prefix",
    "order-",
    "--seconds",
    "1",
  ]);
  await server.stop();
  expect(refused).toMatchObject({ code: 1, output: "" });
  expect(refused.errors).toContain("has 1 event, and what bench appends stays among them for good");
  expect(alone).toHaveLength(1);
  expect(asked.code).toBe(0);
  expect(asked.output).toMatch(/^WORK +CALLS\/S +EVENTS\/S/);
  expect(reading.code).toBe(0);
  expect(reading.output).toContain("reads");
  expect(reading.output).not.toContain("appends");
});

test("says what fails, and exits with 1", async () => {
  const server = await startTestServer();
  const refused = await run(["bench", server.address, "--stream-prefix", "$x", "--seconds", "1"]);
  await server.stop();
  expect(refused).toMatchObject({ code: 1, output: "" });
  expect(refused.errors).toContain("stream");
});

test.each([
  [["--in-flight", "0"], "--in-flight 0 needs --reads"],
  [["--in-flight", "0", "--reads", "1"], "--in-flight 0 needs --stream-prefix"],
  [["--batch", "0"], '--batch: "0" is not a whole number from 1'],
])("%j is refused before anything is sent", async (argv, message) => {
  const { code, errors } = await run(["bench", "127.0.0.1:1", ...argv]);
  expect(code).toBe(2);
  expect(errors).toContain(message);
});
