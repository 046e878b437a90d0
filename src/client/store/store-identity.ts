// Positions mean something in one store only. Whoever goes on from a position makes sure that the
// store behind the address is still the one it was read from.

import { storeErrorOf } from "./call-failure.ts";
import { StoreReplacedError } from "./errors.ts";

type AskStoreId = (signal: AbortSignal | undefined) => Promise<string>;

export class StoreIdentity {
  private readonly ask: AskStoreId;
  private knownId: string | undefined;

  /** `known`: whose positions the caller holds already. */
  constructor(ask: AskStoreId, known?: string) {
    this.ask = ask;
    this.knownId = known;
  }

  get known(): string | undefined {
    return this.knownId;
  }

  /**
   * To be called once a call is answered and before its answer is believed: were the store replaced
   * between the two, it is the other one that answers here too.
   */
  async confirm(signal: AbortSignal | undefined): Promise<string> {
    const storeId = await this.ask(signal).catch((error: unknown) => {
      throw storeErrorOf(error);
    });
    this.knownId ??= storeId;
    if (storeId !== this.knownId) throw new StoreReplacedError(this.knownId, storeId);
    return storeId;
  }
}
