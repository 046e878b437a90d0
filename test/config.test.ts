// Configuration: the sources of a value, and how an invalid one is refused.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConfigError, isLoopback, loadConfig } from "../src/config.ts";
import { options } from "../src/options.ts";
import { variableWarnings } from "../src/cli/server/variable-warnings.ts";
import { configHelp, printConfig } from "../src/cli/server/config-text.ts";

const load = (flags: string[], environment: Record<string, string> = {}, file?: string) =>
  loadConfig({
    flags,
    environment,
    readFile: (path) => {
      if (file === undefined) throw new Error(`ENOENT: no such file, open '${path}'`);
      return file;
    },
  });

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return "";
}

describe("a value", () => {
  test("is from the flags, else the environment, else the file, else the default", () => {
    const file = JSON.stringify({ port: 1, "log-level": "warn", host: "127.0.0.2" });
    const environment = { ANNALS_PORT: "2", ANNALS_LOG_LEVEL: "error" };
    const { config, sources } = load(["--config", "c.json", "--port", "3"], environment, file);
    expect(config).toMatchObject({ port: 3, logLevel: "error", host: "127.0.0.2", tcp: true });
    expect(sources).toMatchObject({
      port: "flag --port",
      logLevel: "environment ANNALS_LOG_LEVEL",
      host: "file c.json",
      tcp: "default",
    });
  });

  test("may stand behind an equals sign, and a switch may be turned off", () => {
    const { config } = load([
      "--port=0",
      "--no-reflection",
      "--memory",
      "--allow-remote=true",
      "--no-auth",
      "--unix-socket=a=b",
    ]);
    expect(config).toMatchObject({
      port: 0,
      reflection: false,
      memory: true,
      allowRemote: true,
      auth: false,
      unixSocket: "a=b",
    });
  });

  test("cannot be changed afterwards", () => {
    expect(Object.isFrozen(load([]).config)).toBe(true);
  });

  test("of the config file's path may come from the environment", () => {
    expect(load([], { ANNALS_CONFIG: "c.json" }, '{"port":9}').sources.port).toBe("file c.json");
  });
});

describe("what is wrong is refused by name", () => {
  test.each<[string[], string]>([
    [["--prot", "1"], "--prot: there is no such option; see --help"],
    [["--Port", "1"], "--Port: there is no such option; see --help"],
    [["-p", "1"], "-p: there is no such option; see --help"],
    [["--"], "--: there is no such option; see --help"],
    [["--no-port"], "--no-port: there is no such option; see --help"],
    [["--no-tcp=false", "--unix-socket", "s"], "--no-tcp: takes no value"],
    [["stray"], "stray: is not an option"],
    [["--port"], "--port: needs a value"],
    [["--port", "1", "--port", "2"], "--port: is given twice"],
    [["--tcp", "--no-tcp"], "--no-tcp: is given twice"],
    [["--port", "x"], '--port: is "x", not a whole number from 0 to 65535'],
    [["--port", "65536"], "--port: is 65536, not a whole number from 0 to 65535"],
    [["--port", "-1"], '--port: is "-1", not a whole number from 0 to 65535'],
    [["--port", "1.5"], '--port: is "1.5", not a whole number from 0 to 65535'],
    [["--port", "0x10"], '--port: is "0x10", not a whole number from 0 to 65535'],
    [["--port="], '--port: is "", not a whole number from 0 to 65535'],
    [["--memory=yes"], '--memory: is "yes", not true or false'],
    [["--log-level", "loud"], '--log-level: is "loud", not one of debug, info, warn, error'],
    [["--data", ""], "--data: is empty"],
    [["--no-tcp"], "--no-tcp: needs a --unix-socket"],
    [["--tls-cert", "c"], "--tls-cert and --tls-key: one needs the other"],
    [["--tls-key", "k"], "--tls-cert and --tls-key: one needs the other"],
    [["--tls-client-ca", "a"], "--tls-client-ca: needs --tls-cert and --tls-key"],
    [["--host", "0.0.0.0"], "--host: 0.0.0.0 is reached by other machines; add --allow-remote"],
    [
      ["--host", "example.org"],
      "--host: example.org is reached by other machines; add --allow-remote",
    ],
    [
      ["--host", "0.0.0.0", "--allow-remote"],
      "--host: everybody who reaches 0.0.0.0 could read and delete events; add --tokens-file, " +
        "--access-file or --tls-client-ca, or --no-auth to allow that",
    ],
    [["--tokens-file", "t", "--no-auth"], "--no-auth: contradicts --tokens-file and --access-file"],
    [["--unix-socket", `/${"x".repeat(103)}`], "--unix-socket: is longer than 103 bytes"],
    [["--config", "c"], "c: ENOENT: no such file, open 'c'"],
    [["--config"], "--config: needs a value"],
  ])("%j", (flags, message) => {
    expect(refusal(() => load(flags))).toBe(message);
  });

  test.each<[Record<string, string>, string]>([
    [{ ANNALS_PORT: "x" }, 'ANNALS_PORT: is "x", not a whole number from 0 to 65535'],
    [{ ANNALS_MEMORY: "1" }, 'ANNALS_MEMORY: is "1", not true or false'],
  ])("in the environment: %j", (environment, message) => {
    expect(refusal(() => load([], environment))).toBe(message);
  });

  test.each<[string, string]>([
    ["[]", "c: is not a JSON object of options"],
    ["null", "c: is not a JSON object of options"],
    ['{"prot":1}', 'c: "prot": there is no such option'],
    ['{"logLevel":"info"}', 'c: "logLevel": there is no such option'],
    ['{"port":"1"}', 'c: "port": is "1", not a whole number from 0 to 65535'],
    ['{"port":1e9}', 'c: "port": is 1000000000, not a whole number from 0 to 65535'],
    ['{"memory":"true"}', 'c: "memory": is "true", not true or false'],
    ['{"data":5}', 'c: "data": is 5, not a text'],
    ['{"log-format":null}', 'c: "log-format": is null, not one of auto, json, text'],
  ])("in the file: %s", (file, message) => {
    expect(refusal(() => load(["--config", "c"], {}, file))).toBe(message);
  });

  test("a file that is no JSON is named", () => {
    expect(refusal(() => load(["--config", "c.json"], {}, "{port:1}"))).toMatch(/^c\.json: .*JSON/);
  });

  test("whatever the flags, they are taken or refused", () => {
    const flag = fc.oneof(
      fc.constantFrom(...Object.keys(options).map((name) => `--${name.toLowerCase()}`)),
      fc.constantFrom(
        "--port",
        "--no-tcp",
        "--data",
        "--memory=",
        "--=",
        "-",
        "--config",
        "7",
        "true",
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(flag, { maxLength: 4 }), (flags) => {
        refusal(() => load(flags, {}, "{}"));
      }),
    );
  });
});

describe("variables that only look like ours", () => {
  test("Kubernetes describes a service named annals so; that is no configuration", () => {
    const environment = {
      ANNALS_SERVICE_HOST: "10.0.0.1",
      ANNALS_SERVICE_PORT: "7420",
      ANNALS_SERVICE_PORT_GRPC: "7420",
      ANNALS_PORT: "tcp://10.0.0.1:7420",
      ANNALS_PORT_7420_TCP: "tcp://10.0.0.1:7420",
      ANNALS_PORT_7420_TCP_PROTO: "tcp",
    };
    expect(load([], environment).config.port).toBe(7420);
    expect(variableWarnings(environment)).toEqual([]);
  });

  test("what is no option changes nothing, and is warned of, with what may have been meant", () => {
    const environment = { ANNALS_PROT: "1", ANNALS_BANANA: "", PORT: "1" };
    expect(load([], environment).config.port).toBe(7420);
    expect(variableWarnings(environment)).toEqual([
      "the environment variable ANNALS_PROT is not an option and has no effect: did you mean ANNALS_PORT?",
      "the environment variable ANNALS_BANANA is not an option and has no effect",
    ]);
    const [address] = variableWarnings({ ANNALS_ADRESS: "x" });
    expect(address).toContain("did you mean ANNALS_ADDRESS?");
    const [authority] = variableWarnings({ ANNALS_TLS_CLENT_CA: "x" });
    expect(authority).toContain("did you mean ANNALS_TLS_CLIENT_CA?");
  });

  test("what the client commands read is theirs", () => {
    expect(load([], { ANNALS_ADDRESS: "localhost:1", OTHER: "x" }).sources.host).toBe("default");
  });
});

test("only addresses of this machine are loopback", () => {
  for (const host of ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
    expect(isLoopback(host)).toBe(true);
  for (const host of ["0.0.0.0", "::", "128.0.0.1", "127.evil.example", "10.0.0.1", ""]) {
    expect(isLoopback(host)).toBe(false);
  }
});

describe("shown", () => {
  test("the effective options come with where they are from", () => {
    const loaded = load(["--print-config", "--port", "9"]);
    expect(loaded.show).toBe("config");
    const lines = printConfig(loaded).trimEnd().split("\n");
    expect(lines).toHaveLength(Object.keys(options).length);
    expect(lines.find((line) => line.startsWith("port "))).toMatch(/^port +9 +\(flag --port\)$/);
    expect(lines.find((line) => line.startsWith("data "))).toMatch(
      /"\.\/annals-data" +\(default\)$/,
    );
  });

  test("the help names every option, its default and its meaning", () => {
    expect(load(["--help", "--no-tcp"]).show).toBe("help");
    const help = configHelp();
    for (const [name, { help: meaning }] of Object.entries(options)) {
      expect(help).toContain(meaning);
      expect(help).toContain(
        `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} `,
      );
    }
    expect(help).toContain("--print-config");
  });
});
