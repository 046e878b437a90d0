// How many events the whole store got in each of the last seconds, by what its head was.

const headSeconds = 120;

export class HeadRates {
  readonly rates: number[] = Array.from({ length: headSeconds }, () => 0);
  private last: { head: number; second: number } | undefined;

  /** Where a look came late, its events are shared among the seconds that passed. */
  saw(head: number, nowMs: number): void {
    const second = Math.floor(nowMs / 1_000);
    const { last } = this;
    if (last !== undefined && second <= last.second) return;
    this.last = { head, second };
    if (last === undefined) return;
    const passed = Math.min(headSeconds, second - last.second);
    const rate = Math.max(0, head - last.head) / passed;
    this.rates.splice(0, passed);
    for (let added = 0; added < passed; added += 1) this.rates.push(rate);
  }
}
