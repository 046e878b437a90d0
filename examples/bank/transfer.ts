// A transfer: two accounts, two streams, one append. Both versions are expected, so that neither
// the money nor the rule that it must be there can get lost between them.

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
  /** Of the customer's choosing: it is in both events. */
  readonly transfer: string;
  readonly from: string;
  readonly to: string;
  readonly cents: number;
}

export interface Transferred {
  readonly appended: Appended<BankEvent>;
  /** How often it was decided: 1 where nobody else moved either account. */
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
      // Not that somebody else was faster: this very transfer was made before.
      const before = error instanceof ConflictError ? error.condition?.position : undefined;
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
      // Whoever sends the same transfer again, days later or from elsewhere, moves nothing.
      condition: { query: { tags: [transferTag(transfer)] } },
    },
  );
}
