// What a stream must be like for an append to be accepted.

/**
 * A version: the number of events the stream ever got, 0 for none yet. `"exists"`: at least one
 * event; `"absent"`: none; `"any"`: nothing is expected.
 */
export type Expect = number | "exists" | "absent" | "any";
