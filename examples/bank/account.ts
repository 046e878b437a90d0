// An account: a stream, and the rules for its money. Pure functions without a store.

import { repository, type AnnalsClient, type Decider } from "../../src/client/sdk.ts";
import type { BankEvent } from "./events.ts";
import { RefusedError } from "./refusal.ts";

export interface Account {
  /** Empty: the account was never opened. */
  readonly number: string;
  readonly owner: string;
  readonly balance: number;
}

export type AccountCommand =
  | { readonly do: "deposit"; readonly cents: number }
  | { readonly do: "withdraw"; readonly cents: number };

export const account: Decider<Account, AccountCommand, BankEvent> = {
  initial: () => ({ number: "", owner: "", balance: 0 }),
  decide(command, state) {
    const { cents } = command;
    requireOpen(state);
    switch (command.do) {
      case "deposit":
        return { type: "MoneyDeposited", data: { cents } };
      case "withdraw":
        requireCovered(state, cents);
        return { type: "MoneyWithdrawn", data: { cents } };
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case "AccountOpened":
        return { number: event.data.number, owner: event.data.owner, balance: 0 };
      case "MoneyDeposited":
      case "MoneyReceived":
        return { ...state, balance: state.balance + event.data.cents };
      case "MoneyWithdrawn":
      case "MoneySent":
        return { ...state, balance: state.balance - event.data.cents };
    }
  },
};

export function requireOpen({ number }: Account): void {
  if (number === "") throw new RefusedError("there is no such account");
}

export function requireCovered({ owner, balance }: Account, cents: number): void {
  if (balance < cents) throw new RefusedError(`${owner} has ${balance} cents, not ${cents}`);
}

/** Raise the schema version if `Account`, or what `evolve` makes of it, changes. */
export const accountsOf = (client: AnnalsClient<BankEvent>) =>
  repository(client, account, {
    snapshots: { name: "account", schemaVersion: 1, everyEvents: 20 },
  });
