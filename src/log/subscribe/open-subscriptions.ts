// The subscriptions that are open, and how far they are behind.

import type { SubscriptionFigures } from "../log-figures.ts";

/** As much of a subscription as is told. */
interface Open {
  readonly isLive: boolean;
  /** Nothing that matches up to here is undelivered. */
  readonly deliveredThrough: number;
}

export class OpenSubscriptions {
  private readonly open = new Set<Open>();

  /** Answers a function that ends it. */
  add(subscription: Open): () => void {
    this.open.add(subscription);
    return () => this.open.delete(subscription);
  }

  get count(): number {
    return this.open.size;
  }

  figures(head: number): SubscriptionFigures {
    let liveCount = 0;
    let lagMax = 0;
    for (const { isLive, deliveredThrough } of this.open) {
      if (isLive) liveCount++;
      lagMax = Math.max(lagMax, head - deliveredThrough);
    }
    return { liveCount, behindCount: this.open.size - liveCount, lagMax };
  }
}
