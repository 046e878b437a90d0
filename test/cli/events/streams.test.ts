// `annals streams update` and `delete`: a change of what is named, and nothing else.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { jsonLines, run } from "../captured-terminal.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

function annals(...argv: string[]) {
  return run(argv, { environment: { ANNALS_ADDRESS: server.address } });
}

async function policyAfter(stream: string, ...change: string[]): Promise<unknown> {
  const { code, errors, output } = await annals("streams", "update", stream, ...change, "--json");
  expect([code, errors]).toEqual([0, ""]);
  return jsonLines(output)[0]?.["policy"];
}

describe("annals streams update", () => {
  test("changes what it is given, and leaves the rest as it is", async () => {
    expect(await policyAfter("s", "--max-age", "90d", "--label", "owner=ann")).toEqual({
      maxAge: "90d",
      labels: { owner: "ann" },
    });
    expect(await policyAfter("s", "--max-count", "10")).toEqual({
      maxAge: "90d",
      maxCount: 10,
      labels: { owner: "ann" },
    });
    expect(await policyAfter("s", "--label", "team=x", "--label", "owner=ben")).toEqual({
      maxAge: "90d",
      maxCount: 10,
      labels: { team: "x", owner: "ben" },
    });
    expect(await policyAfter("s", "--max-age", "none")).toEqual({
      maxCount: 10,
      labels: { team: "x", owner: "ben" },
    });
    expect(await policyAfter("s", "--max-count", "none", "--no-labels")).toEqual({ labels: {} });
  });

  test("removes both limits at once, and says what is kept then", async () => {
    await policyAfter("t", "--max-age", "12h", "--max-count", "3", "--label", "a=b");
    const { output } = await annals("streams", "update", "t", "--keep-all");
    expect(output).toMatch(/^updated: t keeps everything \(position \d+\)\n$/);
    const { output: told } = await annals("stream", "t");
    expect(told).toMatch(/label\s+a=b/);
  });

  test.each<[string[], string]>([
    [[], "say what is to change"],
    [["--keep-all", "--max-count", "3"], "--keep-all goes without"],
    [["--no-labels", "--label", "a=b"], "--no-labels goes without --label"],
    [["--max-count", "0"], "--max-count"],
    [["--max-age", "soon"], "--max-age"],
  ])("refuses %j", async (change, told) => {
    const { code, errors } = await annals("streams", "update", "s", ...change);
    expect([code, errors]).toEqual([2, expect.stringContaining(told)]);
  });
});

test("annals streams delete is refused where the stream is not at the version that was seen", async () => {
  for (let i = 0; i < 2; i += 1) await annals("append", "d", "T");
  const late = await annals("streams", "delete", "d", "--expected-version", "1");
  expect([late.code, late.errors]).toEqual([3, expect.stringContaining("is at version 2")]);
  const { output } = await annals("streams", "delete", "d", "--expected-version", "2");
  expect(output).toMatch(/^deleted: d@2/);
  const again = await annals("streams", "delete", "d", "--expected-version", "2");
  expect(again.output).toBe(output);
});
