// What was run and what was not, said out loud at the end of a test file.

const lines: string[] = [];

/** Throws where it was required: REQUIRE_CLIENTS names it, or says `all`. */
export function notRun(name: string, why: string): void {
  lines.push(`${name}: NOT RUN: ${why}`);
  const required = process.env["REQUIRE_CLIENTS"] ?? "";
  if (required === "all" || required.split(",").includes(name)) {
    throw new Error(`${name} is required, but ${why}`);
  }
}

export function ran(name: string, buildSeconds: number | undefined, seconds: number): void {
  const built =
    buildSeconds === undefined ? "built before" : `built in ${buildSeconds.toFixed(1)} s`;
  lines.push(`${name}: ${built}, ran in ${seconds.toFixed(1)} s`);
}

export function printReport(): void {
  console.log(["clients:", ...lines].join("\n  "));
}
