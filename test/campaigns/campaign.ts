// What every campaign is: a bounded run of generated faults from a seed, and what came of it.

export interface CampaignOptions {
  readonly seed: number;
  /** No new cycle begins after so many seconds. Absent: it runs to its end. */
  readonly secondsMax?: number;
  /** Told of progress. */
  readonly report?: (line: string) => void;
}

export interface CampaignResult {
  readonly cycles: number;
  readonly events: number;
  /** Each in words that allow to repeat it. Empty is what is claimed. */
  readonly violations: readonly string[];
  /** Whether the control, which must fail, failed: without it the run is void. */
  readonly control: boolean;
  /** Other figures of this campaign. */
  readonly detail: Readonly<Record<string, unknown>>;
}
