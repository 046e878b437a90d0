// Explains errors of the operating system and of LevelDB to an operator, in one line: what is wrong
// with which file or address, without Node's error code and stack.

/** The message of a failed system call in Node: `EACCES: permission denied, open '/x'`. */
const systemCall = /^(E[A-Z0-9]+): (.+?), (\w+)(?: '(.*?)')?(?: -> '.*')?$/s;

/** Undefined for any other error, whose stack should be shown instead. */
export function osErrorText(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  if (code?.startsWith("LEVEL_") === true) {
    const { cause, message } = error;
    return cause instanceof Error ? cause.message : message;
  }
  const [, , what, call, path] = systemCall.exec(error.message) ?? [];
  if (what === undefined) return undefined;
  return path === undefined ? `${what} (${call})` : `${path}: ${what}`;
}
