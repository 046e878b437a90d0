// The answers of a commit that is durable, until the next commit is on its way. Where other servers
// commit as well, the database waits for this one between two commits; so answers are made while it
// writes, and at the latest after a few milliseconds.

const heldMsMax = 10;

export class HeldAnswers {
  private answers: (() => void) | undefined;
  private timer: NodeJS.Timeout | undefined;

  get areAny(): boolean {
    return this.answers !== undefined;
  }

  /** Those that were held before are made. `isLast`: no commit follows, so these are made, too. */
  hold(answers: () => void, isLast: boolean): void {
    this.make();
    if (isLast) return answers();
    this.answers = answers;
    this.timer = setTimeout(() => this.make(), heldMsMax);
  }

  make(): void {
    const { answers } = this;
    clearTimeout(this.timer);
    this.answers = undefined;
    answers?.();
  }
}
