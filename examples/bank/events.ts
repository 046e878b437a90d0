// The events of the bank: their types, how they are read back from the store, and the tags by which
// they are found.

import { defineEvents, type DataOf } from "../../src/client/sdk.ts";

/** Amounts are whole cents. */
export type BankEvent =
  | {
      readonly type: "AccountOpened";
      readonly data: { readonly number: string; readonly owner: string; readonly email: string };
    }
  | { readonly type: "MoneyDeposited"; readonly data: { readonly cents: number } }
  | { readonly type: "MoneyWithdrawn"; readonly data: { readonly cents: number } }
  | {
      readonly type: "MoneySent";
      readonly data: { readonly transfer: string; readonly to: string; readonly cents: number };
    }
  | {
      readonly type: "MoneyReceived";
      readonly data: { readonly transfer: string; readonly from: string; readonly cents: number };
    };

export const streamOf = (number: string) => `account-${number}`;
export const emailTag = (email: string) => `email:${email.toLowerCase()}`;
export const transferTag = (transfer: string) => `transfer:${transfer}`;
export const numberTag = (number: string) => `number:${number}`;

type Opened = DataOf<BankEvent, "AccountOpened">;

export const bankEvents = defineEvents<BankEvent>({
  parse: {
    AccountOpened: (data): Opened => ({
      number: text(data, "number"),
      owner: text(data, "owner"),
      email: text(data, "email"),
    }),
    MoneyDeposited: (data) => ({ cents: cents(data) }),
    MoneyWithdrawn: (data) => ({ cents: cents(data) }),
    MoneySent: (data) => ({
      transfer: text(data, "transfer"),
      to: text(data, "to"),
      cents: cents(data),
    }),
    MoneyReceived: (data) => ({
      transfer: text(data, "transfer"),
      from: text(data, "from"),
      cents: cents(data),
    }),
  },
  // In the bank's first year, amounts were whole euros in an event of another name. Those events
  // are not rewritten.
  upcast: {
    EurosPaidIn: ({ data }) => ({
      type: "MoneyDeposited",
      data: { cents: wholeNumber(data, "euros") * 100 },
    }),
  },
  // By these tags, opening an account finds out whether its number and its owner's address are
  // taken, and a transfer finds out whether it was already made.
  tags: (event) => {
    switch (event.type) {
      case "AccountOpened":
        return [emailTag(event.data.email), numberTag(event.data.number)];
      case "MoneySent":
      case "MoneyReceived":
        return [transferTag(event.data.transfer)];
      case "MoneyDeposited":
      case "MoneyWithdrawn":
        return [];
    }
  },
});

function member(data: unknown, name: string): unknown {
  if (typeof data !== "object" || data === null) throw new TypeError("is no object");
  return (data as Readonly<Record<string, unknown>>)[name];
}

function text(data: unknown, name: string): string {
  const value = member(data, name);
  if (typeof value !== "string" || value === "") throw new TypeError(`${name} is no text`);
  return value;
}

function wholeNumber(data: unknown, name: string): number {
  const value = member(data, name);
  if (!Number.isSafeInteger(value)) throw new TypeError(`${name} is no whole number`);
  return value as number;
}

function cents(data: unknown): number {
  const value = wholeNumber(data, "cents");
  if (value <= 0) throw new TypeError("cents is not above zero");
  return value;
}
