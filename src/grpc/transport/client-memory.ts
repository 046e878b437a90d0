// What all clients make the server hold: requests that are not complete, answers that are not
// taken, connections themselves. Each connection is sure of a share, so that a client with little
// under way is not refused for what others hold.

import type { Budget } from "../../http2/account.ts";

/** Of one connection, whatever others hold. */
const sureBytes = 128 * 1024;

export class ClientMemory {
  private readonly bytesMax: number;
  private heldBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.heldBytes;
  }

  /** The budget of a new connection. */
  budget(): Budget {
    let own = 0;
    return {
      take: (bytes) => {
        if (own + bytes > sureBytes && this.heldBytes + bytes > this.bytesMax) return false;
        own += bytes;
        this.heldBytes += bytes;
        return true;
      },
      give: (bytes) => {
        own -= bytes;
        this.heldBytes -= bytes;
      },
    };
  }
}
