// The domain of the cases, and the stores they run on: ours, and Emmett's in memory, which says what
// Emmett means where its stores agree.

import { after } from "node:test";
import { getInMemoryEventStore, type Event, type EventStore } from "@event-driven-io/emmett";
import { connect, type JsonEvent } from "annals-client";
import { getAnnalsEventStore, type AnnalsEventStoreOptions } from "annals-emmett";

export type ItemAdded = Event<"ItemAdded", { item: string; price: number }>;
export type Discounted = Event<"Discounted", { percent: number }, { reason: string }>;
export type Confirmed = Event<"Confirmed", { at: string }>;
export type CartEvent = ItemAdded | Discounted | Confirmed;

export interface Cart {
  readonly items: readonly string[];
  readonly total: number;
  readonly isConfirmed: boolean;
}

export const initialState = (): Cart => ({ items: [], total: 0, isConfirmed: false });

export function evolve(cart: Cart, event: CartEvent): Cart {
  switch (event.type) {
    case "ItemAdded": {
      const { item, price } = event.data;
      return { ...cart, items: [...cart.items, item], total: cart.total + price };
    }
    case "Discounted":
      return { ...cart, total: cart.total * (1 - event.data.percent / 100) };
    case "Confirmed":
      return { ...cart, isConfirmed: true };
  }
}

export const added = (item = "shoes", price = 30): ItemAdded => {
  return { type: "ItemAdded", data: { item, price } };
};
export const discounted = (percent = 10): Discounted => {
  return { type: "Discounted", data: { percent }, metadata: { reason: "sale" } };
};
export const confirmed: Confirmed = { type: "Confirmed", data: { at: "2026-01-01" } };

export const client = connect<JsonEvent>({ address: process.env["ANNALS_ADDRESS"] });
after(() => client.close());

export const annals = (options?: AnnalsEventStoreOptions) => getAnnalsEventStore(client, options);
export const stores: readonly (readonly [string, EventStore<any>])[] = [
  ["Annals", annals()],
  ["Emmett's memory store", getInMemoryEventStore() as EventStore<any>],
];

let carts = 0;
/** A stream of its own for each case: they share a server. */
export const cartId = (): string => `cart-${process.pid}-${Date.now()}-${++carts}`;

export async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await new Promise((next) => setTimeout(next, 10));
}
