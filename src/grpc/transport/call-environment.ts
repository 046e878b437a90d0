// What every call of every service shares: where faults are logged, and when the server stops.

import type { Outstanding } from "../../log/read/unsent-bytes.ts";
import type { Logger } from "../../logger.ts";
import { severityOf, statusOf, type CallStatus } from "./status.ts";

export interface Edge {
  readonly logger: Logger;
  readonly stopping: Stopping;
  /** What clients have not taken yet, over all calls. */
  readonly outstanding: Outstanding;
}

/** The server begins to stop: calls that would wait for their client end instead. */
export class Stopping {
  readonly #listeners = new Set<() => void>();
  #begun = false;

  get begun(): boolean {
    return this.#begun;
  }

  begin(): void {
    this.#begun = true;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** Answers a function that ends the watch. */
  watch(listener: () => void): () => void {
    if (this.#begun) listener();
    else this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** The status of what was thrown, logged as loudly as it deserves. */
export function failed(edge: Edge, method: string, peer: string, error: unknown): CallStatus {
  const status = statusOf(error);
  const fields = { method, peer, code: status.code, error };
  edge.logger[severityOf(error)]("call failed", fields);
  return status;
}
