// How long something was not heard of.

export class Silence {
  private heardAtMs = performance.now();
  private longestMs = 0;

  /** It was heard of. */
  heard(): void {
    const nowMs = performance.now();
    this.longestMs = Math.max(this.longestMs, nowMs - this.heardAtMs);
    this.heardAtMs = nowMs;
  }

  /** The longest in milliseconds since this was last called, with one that still lasts. */
  take(): number {
    const longest = Math.max(this.longestMs, performance.now() - this.heardAtMs);
    this.longestMs = 0;
    return Math.round(longest);
  }
}
