// Parses deadlines. Clients send anything from 0 nanoseconds to 10,000 years.

/** The longest delay of a timer: 24.8 days. A later deadline is treated as none. */
export const timeoutMsMax = 2 ** 31 - 1;

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * The milliseconds of a `grpc-timeout`: up to eight digits and a unit. `undefined`: malformed.
 * `Infinity`: longer than a timer's longest delay.
 */
export function parseTimeout(value: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(value);
  if (match === null) return undefined;
  const ms = Math.ceil(Number(match[1]) * (unitMs[match[2] as string] as number));
  return ms > timeoutMsMax ? Infinity : ms;
}
