// Servers that are broken on purpose, each by a small change of the shipped sources.

export interface Edit {
  /** Under `src/`. */
  readonly file: string;
  /** Must be there exactly once. */
  readonly find: string;
  readonly replace: string;
}

export interface Mutant {
  readonly edits: readonly Edit[];
}

export const mutants: Readonly<Record<string, Mutant>> = {};
