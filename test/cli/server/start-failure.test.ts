// A server that cannot start says why in one line, with the option and the remedy; and so does a
// command that the operating system refuses something.
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { osErrorText } from "../../../src/cli/output/os-error.ts";
import { startFailure } from "../../../src/cli/server/start-failure.ts";
import { configOf } from "../../support/running-server.ts";
import { run } from "../captured-terminal.ts";
import { spawnAnnals, temporaryFolder } from "../running-server.ts";

const folder = temporaryFolder();

/** What `annals serve` printed, and its exit code. */
async function served(...flags: string[]): Promise<{ code: number | null; lines: string[] }> {
  const data = join(folder, "data");
  const server = spawnAnnals(["serve", "--data", data, "--log-format", "text", ...flags]);
  const code = await server.ended;
  return { code, lines: server.printed().trimEnd().split("\n") };
}

describe("a server in a process of its own", () => {
  test("names the port that is taken", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const { code, lines } = await served("--port", `${port}`);
    other.close();
    expect(code).toBe(1);
    expect(lines).toEqual([
      expect.stringContaining(
        `another process listens on 127.0.0.1, port ${port}: stop that one, ` +
          "or choose another port with --port (ANNALS_PORT)",
      ),
    ]);
  });

  test("names the certificate that is missing, or does not fit", async () => {
    const missing = join(folder, "no-such.pem");
    const { code, lines } = await served(
      "--port",
      "0",
      "--tls-cert",
      missing,
      "--tls-key",
      missing,
    );
    expect([code, lines]).toEqual([
      1,
      [
        expect.stringContaining(
          `--tls-cert (ANNALS_TLS_CERT): ${missing}: no such file or directory`,
        ),
      ],
    ]);
    const wrong = join(folder, "wrong.pem");
    writeFileSync(wrong, "no certificate");
    const unfit = await served("--port", "0", "--tls-cert", wrong, "--tls-key", wrong);
    expect(unfit.lines).toEqual([expect.stringContaining("do not fit together")]);
  });

  test("says that a variable that is not an option has no effect", async () => {
    process.env["ANNALS_HOTS"] = "x";
    const { lines } = await served("--port", "0", "--tls-cert", "x", "--tls-key", "x");
    delete process.env["ANNALS_HOTS"];
    expect(lines[0]).toContain(
      "ANNALS_HOTS is not an option and has no effect: did you mean ANNALS_HOST?",
    );
  });
});

function systemError(code: string, call: string, path: string, text: string): Error {
  return Object.assign(new Error(`${code}: ${text}, ${call} '${path}'`), { code });
}

describe("the reason a server did not start", () => {
  const config = configOf("--data", "/srv/annals", "--port", "80", "--unix-socket", "/run/a.sock");
  const listening = (code: string, where: string) =>
    new Error("cannot listen", { cause: new Error(`listen ${code}: why ${where}`) });

  test.each<[string, Error, string]>([
    [
      "a port below 1024",
      listening("EACCES", "127.0.0.1:80"),
      "--port (ANNALS_PORT): this process may not listen on port 80: choose one from 1024 on",
    ],
    [
      "an address of another machine",
      listening("EADDRNOTAVAIL", "10.0.0.9:80"),
      "--host (ANNALS_HOST): this machine has no address 127.0.0.1",
    ],
    [
      "a socket nobody may create",
      listening("EACCES", "/run/a.sock"),
      "cannot listen on /run/a.sock: this process may not create it there",
    ],
    [
      "another refusal to listen",
      listening("EMFILE", "127.0.0.1:80"),
      "cannot listen on 127.0.0.1, port 80: EMFILE",
    ],
    [
      "a missing right",
      systemError("EACCES", "open", "/srv/annals/MARK", "permission denied"),
      "--data (ANNALS_DATA): /srv/annals/MARK: permission denied",
    ],
    [
      "a full disk",
      systemError("ENOSPC", "write", "/srv/annals/MARK", "no space left on device"),
      "--data (ANNALS_DATA): /srv/annals/MARK: no space left on device",
    ],
    [
      "a database that cannot be opened",
      Object.assign(new Error("Database failed to open"), {
        code: "LEVEL_DATABASE_NOT_OPEN",
        cause: new Error("IO error: /srv/annals/log/LOCK: Permission denied"),
      }),
      "--data (ANNALS_DATA): IO error: /srv/annals/log/LOCK: Permission denied",
    ],
  ])("is told in one line: %s", (_, error, told) => {
    const reason = startFailure(error, config);
    expect(reason).toContain(told);
    expect(reason).not.toContain("\n");
  });

  test("is not made up where it is a fault", () => {
    expect(startFailure(new TypeError("x is undefined"), config)).toBeUndefined();
    expect(startFailure("no error at all", config)).toBeUndefined();
  });
});

describe("a command that the operating system refuses something", () => {
  test("says which file, and why, without a stack", async () => {
    const file = join(folder, "a-file");
    writeFileSync(file, "");
    const { code, errors } = await run(["restore", join(file, "below"), join(folder, "new")]);
    expect(code).toBe(1);
    expect(errors).toContain("not a directory");
    expect(errors).not.toContain("    at ");
    mkdirSync(join(folder, "empty"));
    const nothing = await run(["restore", join(folder, "empty"), join(folder, "new")]);
    expect(nothing.errors).toContain("holds no backup");
  });

  test("has no words for what is none of the system's", () => {
    expect(osErrorText(new Error("E: x"))).toBeUndefined();
    expect(osErrorText("text")).toBeUndefined();
    const renamed = new Error("EXDEV: cross-device link, rename '/a' -> '/b'");
    expect(osErrorText(renamed)).toBe("/a: cross-device link");
    expect(osErrorText(new Error("ENOSPC: no space left on device, write"))).toBe(
      "no space left on device (write)",
    );
  });

  test("warns of a variable that is not an option", async () => {
    const environment = { ANNALS_ADRESS: "127.0.0.1:1" };
    const { errors } = await run(["version"], { environment });
    expect(errors).toContain("warning: the environment variable ANNALS_ADRESS is not an option");
  });
});
