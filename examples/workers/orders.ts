// The events of the shop: orders of customers, one stream for each customer.

import { defineEvents } from "../../src/client/sdk.ts";

export type ShopEvent =
  | { readonly type: "OrderPlaced"; readonly data: { readonly order: string } }
  | {
      readonly type: "AddressGiven";
      readonly data: { readonly street: string; readonly town: string };
    };

export const shopEvents = defineEvents<ShopEvent>();

/** The workers' group. Parcels are packed in the order of each customer's orders. */
export const group = "parcels";
