// Errors of the operating system and of the database under it, in one line for an operator: what is
// wrong with which file or address, without Node's code and stack.

/** What Node says of a failed system call: `EACCES: permission denied, open '/x'`. */
const systemCall = /^(E[A-Z0-9]+): (.+?), (\w+)(?: '(.*?)')?(?: -> '.*')?$/s;

/** Undefined: it is a fault of another kind, whose stack is worth more. */
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
