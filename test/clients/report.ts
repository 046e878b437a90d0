// What was run and what was not, said out loud at the end of a test file.

const lines: string[] = [];

/** Whether a client that cannot be run here is a failure. */
export function isRequired(name: string): boolean {
  const required = process.env["REQUIRE_CLIENTS"] ?? "";
  return required === "all" || required.split(",").includes(name);
}

export function notRun(name: string, why: string): void {
  lines.push(`${name}: NOT RUN: ${why}`);
}

export function ran(name: string, buildSeconds: number | undefined, seconds: number): void {
  const built =
    buildSeconds === undefined ? "built before" : `built in ${buildSeconds.toFixed(1)} s`;
  lines.push(`${name}: ${built}, ran in ${seconds.toFixed(1)} s`);
}

export function printReport(): void {
  console.log(["clients:", ...lines].join("\n  "));
}
