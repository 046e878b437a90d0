// Counts the bytes that one connection holds, and draws them from its budget.

/** The budget for the bytes that a connection holds. Several connections may share one pool. */
export interface Budget {
  /** False: there is no room, and nothing was taken. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

export class Account {
  heldBytes = 0;
  private readonly budget: Budget;

  constructor(budget: Budget) {
    this.budget = budget;
  }

  take(bytes: number): boolean {
    if (!this.budget.take(bytes)) return false;
    this.heldBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.heldBytes -= bytes;
    this.budget.give(bytes);
  }
}
