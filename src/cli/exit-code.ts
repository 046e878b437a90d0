// The exit codes of commands, for scripts.

/** 1 failure, 2 a wrong command line, 3 a conflict. */
export const exitCode = { ok: 0, failure: 1, usage: 2, conflict: 3 } as const;
