// What `annals top` shows of a real server, and what it says where it gets no figures.
import { join } from "node:path";
import { expect, test } from "vitest";
import { MetricsText } from "../../../src/cli/server/metrics-text.ts";
import { figuresBetween } from "../../../src/cli/server/top-figures.ts";
import { makeAuthority, sign } from "../../support/certificates.ts";
import { startTestServer } from "../../support/running-server.ts";
import { jsonLines, run } from "../captured-terminal.ts";
import { temporaryFolder } from "../running-server.ts";

test("tells rates, latencies, groups and disk of the time between two looks", async () => {
  const server = await startTestServer(["--data", join(temporaryFolder(), "store")]);
  try {
    const at = ["--address", server.address];
    await run(["groups", "create", 'mails "a}', ...at]);
    const looked = run(["top", server.address, "--once", "--every", "3s", "--json"]);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    for (let i = 0; i < 3; i += 1) await run(["append", "s-1", "A", "{}", ...at]);
    await run(["append", "s-1", "A", "--expected", "absent", ...at]);
    await run(["read", "s-1", ...at]);
    const { code, output, errors } = await looked;
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    const [figures] = jsonLines(output);
    const { seconds } = figures as { seconds: number };
    const near = (count: number): unknown => expect.closeTo(count / seconds, 6);
    expect(figures).toMatchObject({
      writeState: "accepting",
      engine: "leveldb",
      head: 3,
      appends: { perSecond: near(4), eventsPerSecond: near(3), conflictsPerSecond: near(1) },
      handed: { readPerSecond: near(3), subscriptionPerSecond: 0, groupPerSecond: 0 },
      disk: { usedBytes: expect.any(Number) },
      groups: [{ group: 'mails "a}', inFlight: 0, members: 0 }],
    });
    const { methods } = figures as { methods: Record<string, unknown>[] };
    const append = methods.find(({ method }) => String(method).endsWith("/Append"));
    expect(append).toMatchObject({ perSecond: near(4), failed: 1, p50Ms: expect.any(Number) });
    expect(figures).not.toHaveProperty("follower");
  } finally {
    await server.stop();
  }
});

test("rewrites a terminal, and prints blocks of text to a file", async () => {
  const server = await startTestServer();
  const seen = async (columns: number | undefined, until: RegExp) => {
    const end = new AbortController();
    const onOutput = (text: string) => void (until.test(text) && end.abort());
    const shown = columns === undefined ? {} : { columns };
    const argv = ["top", server.address, "--every", "1s"];
    return run(argv, { ...shown, signal: end.signal, onOutput });
  };
  try {
    const screen = await seen(100, /clients/);
    expect(screen.code).toBe(130);
    expect(screen.output.startsWith("\u001B[?1049h")).toBe(true);
    expect(screen.output.endsWith("\u001B[?1049l")).toBe(true);
    expect(screen.output).toContain(`at ${server.address}, leveldb`);
    const file = await seen(undefined, /\n\nannals[\s\S]*\nprocess /);
    expect(file.code).toBe(130);
    expect(file.output).not.toContain("\u001B");
    expect(file.output.match(/^appends +0\/s, events 0\/s, conflicts 0\/s$/gm)).toHaveLength(2);
  } finally {
    await server.stop();
  }
});

test("goes on where the server comes back, and fails at once where it was never there", async () => {
  const server = await startTestServer();
  const end = new AbortController();
  const onOutput = (text: string): void => {
    if (text.includes("clients")) void server.stop();
    if (text.includes("trying again")) end.abort();
  };
  const argv = ["top", server.address, "--every", "1s"];
  const shown = await run(argv, { columns: 120, signal: end.signal, onOutput });
  expect(shown.code).toBe(130);
  expect(shown.output).toContain(`no answer from ${server.address}`);
  const absent = await run(argv);
  expect(absent).toMatchObject({ code: 1, output: "" });
  expect(absent.errors).toContain(`no answer from ${server.address}`);
});

test("says what is missing where there are no metrics, or a token is needed", async () => {
  const without = await startTestServer(["--no-metrics"]);
  const off = await run(["top", without.address, "--once"]);
  await without.stop();
  expect(off).toMatchObject({ code: 1, output: "" });
  expect(off.errors).toContain("the server was started with --no-metrics");

  const folder = temporaryFolder();
  const tokensFile = join(folder, "tokens.json");
  const files = ["--tokens-file", tokensFile];
  const token = async (name: string, role: string) => {
    const { output } = await run(["tokens", "create", name, "--role", role, ...files]);
    return { ANNALS_TOKEN: output.trim() };
  };
  const reader = await token("reader", "reader");
  const observer = await token("observer", "observer");
  const authority = makeAuthority(folder, "authority");
  const { cert, key } = sign(folder, "localhost", authority);
  const tls = ["--tls-cert", cert, "--tls-key", key];
  const asking = await startTestServer([...files, ...tls]);
  const argv = ["top", asking.address, "--once", "--every", "1s", "--tls-ca", authority.cert];
  const named = [...argv, "--tls-server-name", "localhost"];
  const nobody = await run(named);
  const unfit = await run(named, { environment: reader });
  const fit = await run(named, { environment: observer });
  const plain = await run(["top", asking.address, "--once"], { environment: observer });
  await asking.stop();
  expect(nobody.code).toBe(1);
  expect(nobody.errors).toContain("the server asks who looks");
  expect(nobody.errors).toContain("a token of the role observer");
  expect(unfit.errors).toContain("the permission observe: the role observer");
  expect(fit).toMatchObject({ code: 0, errors: "" });
  expect(fit.output).toContain(`annals 0.1.0 at ${asking.address}`);
  expect(plain.code).toBe(1);
  expect(plain.errors).toContain(`no answer from ${asking.address}`);
});

test("an interval of less than a second is refused", async () => {
  const { code, errors } = await run(["top", "--every", "500ms"]);
  expect(code).toBe(2);
  expect(errors).toContain("--every: at least 1s");
});

const look = (told: number, started: number, calls: readonly number[]): MetricsText => {
  const name = "rpc_server_call_duration_seconds";
  const label = 'rpc_method="a/B",rpc_status_code="OK"';
  const buckets = calls.map((count, i) => {
    return `${name}_bucket{${label},le="${["0.001", "0.25", "10", "+Inf"][i]}"} ${count}`;
  });
  return new MetricsText(
    [
      "# HELP something else",
      `annals_told_timestamp_seconds ${told}`,
      `process_start_time_seconds ${started}`,
      ...buckets,
      `${name}_count{${label}} ${calls.at(-1)}`,
    ].join("\n"),
  );
};

test("percentiles lie within the bucket, and beyond the last one they are not known", () => {
  const figures = figuresBetween(look(10, 1, [5, 5, 5, 5]), look(14, 1, [5, 9, 10, 13]));
  expect(figures?.methods).toEqual([
    { method: "a/B", perSecond: 2, p50Ms: 250, p99Ms: Infinity, slow: 4, failed: 0 },
  ]);
});

test("there are no rates over a restart, nor of one look that is told twice", () => {
  expect(figuresBetween(look(10, 1, [5, 5, 5, 5]), look(14, 2, [1, 1, 1, 1]))).toBeUndefined();
  expect(figuresBetween(look(10, 1, [5, 5, 5, 5]), look(10, 1, [5, 5, 5, 5]))).toBeUndefined();
});

test("labels are read with what is escaped in them", () => {
  const text = String.raw`annals_group_lag_events{group="a\"b\\c\nd,e=\"}"} 4`;
  const [sample] = new MetricsText(text).of("annals_group_lag_events");
  expect(sample).toEqual({ labels: { group: 'a"b\\c\nd,e="}' }, value: 4 });
});
