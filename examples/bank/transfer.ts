// A transfer: two accounts, two streams, one append. It expects both versions, so that neither the
// money nor the rule that it must be there gets lost in between.

import {
  ConflictError,
  retryOnConflict,
  type AnnalsClient,
  type Appended,
} from "../../src/client/sdk.ts";
import { accountsOf, requireCovered, requireOpen } from "./account.ts";
import { streamOf, transferTag, type BankEvent } from "./events.ts";
import { RefusedError } from "./refusal.ts";

export interface Transfer {
  /** Chosen by the customer. Both events contain it. */
  readonly transfer: string;
  readonly from: string;
  readonly to: string;
  readonly cents: number;
}

export interface Transferred {
  readonly appended: Appended<BankEvent>;
  /** How often it was decided: 1 if nobody else moved either account. */
  readonly attempts: number;
}

export async function makeTransfer(
  client: AnnalsClient<BankEvent>,
  wanted: Transfer,
): Promise<Transferred> {
  if (wanted.from === wanted.to) throw new RefusedError("that is the same account");
  return retryOnConflict(async (attempts) => {
    try {
      return { appended: await tryTransfer(client, wanted), attempts };
    } catch (error) {
      // Not a concurrent change: this transfer was already made.
      const before = error instanceof ConflictError ? error.conditions[0]?.position : undefined;
      if (before === undefined) throw error;
      throw new RefusedError(`the transfer ${wanted.transfer} was made already`, { cause: error });
    }
  });
}

async function tryTransfer(
  client: AnnalsClient<BankEvent>,
  { transfer, from, to, cents }: Transfer,
): Promise<Appended<BankEvent>> {
  const accounts = accountsOf(client);
  const [sending, receiving] = [streamOf(from), streamOf(to)];
  const [sender, receiver] = await Promise.all([accounts.load(sending), accounts.load(receiving)]);
  requireOpen(sender.state);
  requireOpen(receiver.state);
  requireCovered(sender.state, cents);
  return client.append(
    [
      { type: "MoneySent", data: { transfer, to, cents }, stream: sending },
      { type: "MoneyReceived", data: { transfer, from, cents }, stream: receiving },
    ],
    {
      expectations: [
        { stream: sending, expect: sender.version },
        { stream: receiving, expect: receiver.version },
      ],
      // The same transfer, sent again days later or by another process, moves nothing.
      condition: { query: { tags: [transferTag(transfer)] } },
    },
  );
}
