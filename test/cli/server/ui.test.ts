import { expect, test } from "vitest";
import { run } from "../captured-terminal.ts";

test.each([
  [[], {}, "http://127.0.0.1:7420/\n"],
  [["--address", "db"], {}, "http://db:7420/\n"],
  [["-a", "[::1]:7421", "--tls"], {}, "https://[::1]:7421/\n"],
  [[], { ANNALS_PORT: "7500" }, "http://127.0.0.1:7500/\n"],
  [["--json"], { ANNALS_ADDRESS: "db:1" }, '{"url":"http://db:1/"}\n'],
])("annals ui %j with %j prints the page's address", async (args, environment, output) => {
  const result = await run(["ui", ...args], { environment });
  expect(result).toMatchObject({ code: 0, output, errors: "" });
});

test("annals ui says how a browser reaches a Unix socket, and refuses what is no address", async () => {
  const socket = await run(["ui", "-a", "unix:/run/annals/socket"]);
  expect(socket.code).toBe(2);
  expect(socket.errors).toContain("ssh -L 7420:/run/annals/socket HOST");
  expect((await run(["ui", "-a", "a b"])).code).toBe(2);
});
