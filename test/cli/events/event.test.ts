// `annals event`: the event with an id, for people and as a line.
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { run } from "../captured-terminal.ts";

const id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
let server: TestServer;
const annals = (argv: readonly string[]) =>
  run(argv, { environment: { ANNALS_ADDRESS: server.address } });
beforeAll(async () => {
  server = await startTestServer();
  const more = ["--id", id, "--tag", "a", "--tag", "b", "--meta", "by=ann"];
  await annals(["append", "order-1", "Placed", '{"n":1}', ...more]);
  await annals(["append", "order-1", "Paid"]);
});
afterAll(() => server.stop());

test("is shown for people, without what it has not, and as the line that read prints", async () => {
  const { code, output } = await annals(["event", id]);
  expect(code).toBe(0);
  const lines = output.trimEnd().split("\n");
  expect(lines.filter((line) => !line.startsWith("recorded at"))).toEqual([
    `id            ${id}`,
    "position      1",
    "stream        order-1@1",
    "type          Placed",
    "tags          a b",
    "metadata      by=ann",
    "content type  application/json",
    'payload       {"n":1}',
  ]);
  const line = await annals(["event", id, "--json"]);
  expect(line.output).toBe((await annals(["read", "--limit", "1", "--json"])).output);
});

test("may be looked for in one stream", async () => {
  expect((await annals(["event", id, "--stream", "order-1"])).code).toBe(0);
  const { code, output, errors } = await annals(["event", id, "--stream", "order-2"]);
  expect({ code, output }).toEqual({ code: 1, output: "" });
  expect(errors).toContain(`there is no event with the id ${id} in the stream order-2`);
});

test("an id that no event has, and one that is none", async () => {
  const absent = await annals(["event", "01890a5d-ac96-774b-bcce-b302099a8057"]);
  expect(absent.code).toBe(1);
  expect(absent.errors).toContain("there is no event with the id 01890a5d-");
  const wrong = await annals(["event", "17"]);
  expect(wrong.errors).toContain("id: is not a UUID");
});
