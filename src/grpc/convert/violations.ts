// What is wrong with a request: every violation with the path of its field, thrown together, so
// that a client can mend them all at once.

import { AnnalsError, type FieldViolation } from "../../domain/errors.ts";

/** Kept at most; the rest is counted. */
const keptMax = 64;

export class Violations {
  private readonly kept: FieldViolation[] = [];
  private count = 0;

  get none(): boolean {
    return this.count === 0;
  }

  /** `field` is the path with proto names: `events[3].tags[0]`. */
  add(field: string, description: string): void {
    this.count++;
    if (this.kept.length < keptMax) this.kept.push({ field, description });
  }

  /** Throws INVALID_FIELD where there is one. */
  throwIfAny(): void {
    const [first] = this.kept;
    if (first === undefined) return;
    const more = this.count > 1 ? ` (and ${this.count - 1} more)` : "";
    const message = `${first.field}: ${first.description}${more}`;
    throw new AnnalsError({ reason: "INVALID_FIELD", violations: this.kept }, message);
  }
}
