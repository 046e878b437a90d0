// What all campaigns share: a bounded run of generated faults from a seed, and its result.

export interface CampaignOptions {
  readonly seed: number;
  /** No new cycle begins after this many seconds. Absent: the run is not limited. */
  readonly secondsMax?: number;
  /** Reports progress. */
  readonly report?: (line: string) => void;
}

export interface CampaignResult {
  readonly cycles: number;
  readonly events: number;
  /** Each violation, with what is needed to repeat it. Must be empty. */
  readonly violations: readonly string[];
  /** Whether the control, which must fail, failed. Otherwise the run is void. */
  readonly control: boolean;
  /** Further figures of the campaign. */
  readonly detail: Readonly<Record<string, unknown>>;
}
