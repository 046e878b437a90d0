// What happens in the shop: orders of customers, each customer a stream of its own.

import { defineEvents } from "../../src/client/sdk.ts";

export type ShopEvent =
  | { readonly type: "OrderPlaced"; readonly data: { readonly order: string } }
  | {
      readonly type: "AddressGiven";
      readonly data: { readonly street: string; readonly town: string };
    };

export const shopEvents = defineEvents<ShopEvent>();

/** The workers' group: parcels are packed in the order of each customer's orders. */
export const group = "parcels";
