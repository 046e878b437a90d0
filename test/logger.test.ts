// The server's log: lines for machines, lines for people, and no forged lines.
import { describe, expect, test } from "vitest";
import { createLogger, type LogLevel } from "../src/logger.ts";

function log(format: "json" | "text", level: LogLevel = "debug") {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(line);
  return { lines, logger: createLogger({ level, format, write, now: () => new Date(0) }) };
}

describe("as JSON", () => {
  test("a line is an object with time, level, message and facts", () => {
    const { lines, logger } = log("json");
    logger.info("serving", { port: 7420, addresses: ["a"], big: 5n, bytes: new Uint8Array(3) });
    expect(lines).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"serving",' +
        '"port":7420,"addresses":["a"],"big":"5","bytes":"3 bytes"}\n',
    ]);
  });

  test("an error has its stack and its causes", () => {
    const { lines, logger } = log("json");
    logger.error("failed", { error: new Error("outer", { cause: new TypeError("inner") }) });
    const { error } = JSON.parse(lines[0] as string) as { error: string };
    expect(error).toMatch(/^Error: outer\n +at [\s\S]*\ncaused by TypeError: inner\n/);
  });

  test("facts do not overwrite the line's own words", () => {
    const { lines, logger } = log("json");
    logger.info("true", { message: "forged", level: "error" });
    expect(JSON.parse(lines[0] as string)).toMatchObject({
      message: "true",
      level: "info",
      message_: "forged",
    });
  });

  test("what cannot be JSON is no reason to fail", () => {
    const { lines, logger } = log("json");
    const round: Record<string, unknown> = {};
    round["self"] = round;
    logger.info("round", { round });
    logger.info("nothing", { nothing: undefined, nan: NaN, date: new Date(0) });
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(() => JSON.parse(line) as unknown).not.toThrow();
  });
});

test.each(["json", "text"] as const)("as %s no line steers a terminal", (format) => {
  const { lines, logger } = log(format);
  const evil = "\u202E\u200B\u009B2J\u007F\u2028\u{E0041}";
  logger.info(evil, { [evil]: evil, deep: [{ [evil]: evil }], error: new Error(evil) });
  const written = lines.join("");
  expect(written.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  if (format === "json") expect(JSON.parse(written)).toMatchObject({ message: evil, [evil]: evil });
});

describe("as text", () => {
  test("a line is for people", () => {
    const { lines, logger } = log("text");
    logger.warn("open to all", { host: "0.0.0.0", count: 3, name: "with space" });
    expect(lines).toEqual([
      '1970-01-01T00:00:00.000Z WARN  open to all host=0.0.0.0 count=3 name="with space"\n',
    ]);
  });

  test("control characters cannot make a line, or colour one", () => {
    const { lines, logger } = log("text");
    logger.info("a\nb\u001b[31m", { name: "x\ny\u0007" });
    expect(lines[0]).toBe('1970-01-01T00:00:00.000Z INFO  a\\nb\\u001b[31m name="x\\ny\\u0007"\n');
  });

  test("an error keeps its lines", () => {
    const { lines, logger } = log("text");
    logger.error("failed", { error: new Error("why") });
    expect(lines[0]).toMatch(/error=\nError: why\n +at /);
  });
});

test("what is below the level is not written", () => {
  const { lines, logger } = log("json", "warn");
  logger.debug("no");
  logger.info("no");
  logger.warn("yes");
  logger.error("yes");
  expect(lines).toHaveLength(2);
});
