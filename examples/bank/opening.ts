// Opening an account: a rule over the whole bank instead of one stream. No two accounts have the
// same number, and no owner has two accounts. The boundary of the decision is the events about the
// number and the owner.

import { boundary, type AnnalsClient, type Decider, type Query } from "../../src/client/sdk.ts";
import { emailTag, numberTag, streamOf, type BankEvent } from "./events.ts";
import { RefusedError } from "./refusal.ts";

export interface Opening {
  readonly number: string;
  readonly owner: string;
  readonly email: string;
}

interface Taken {
  readonly numbers: readonly string[];
  readonly emails: readonly string[];
}

const opening: Decider<Taken, Opening, BankEvent> = {
  initial: () => ({ numbers: [], emails: [] }),
  decide({ number, owner, email }, taken) {
    if (taken.emails.includes(emailTag(email))) throw new RefusedError(`${email} has an account`);
    if (taken.numbers.includes(number)) throw new RefusedError(`the number ${number} is taken`);
    return { type: "AccountOpened", data: { number, owner, email } };
  },
  evolve: (taken, event) =>
    event.type === "AccountOpened"
      ? {
          numbers: [...taken.numbers, event.data.number],
          emails: [...taken.emails, emailTag(event.data.email)],
        }
      : taken,
};

/** Of concurrent requests for the same account, one is accepted. */
export function openAccount(client: AnnalsClient<BankEvent>, wanted: Opening) {
  const { number, email } = wanted;
  const query: Query = [
    { types: ["AccountOpened"], tags: [numberTag(number)] },
    { types: ["AccountOpened"], tags: [emailTag(email)] },
  ];
  return boundary(client, opening).handle(query, wanted, { stream: streamOf(number) });
}
