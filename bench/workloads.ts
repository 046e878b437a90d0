// All workloads, as data. Each names its limit, which is measured alternately with the product.
// Sizes follow the scale: at scale 1 the preloaded store has a million events in 100,000 streams of
// ten, with 100,000 tags of ten events each.

import type { Workload } from "./probe.ts";
import { appends, conditional } from "./workloads/appends.ts";
import { clients } from "./workloads/clients.ts";
import { databases } from "./workloads/database.ts";
import { byHttp } from "./workloads/http.ts";
import { footprint, growth, soak, starts } from "./workloads/life.ts";
import { besideKurrentdb } from "./workloads/kurrentdb.ts";
import { readsOf } from "./workloads/reads.ts";
import { beside, fanOuts, groupConsume } from "./workloads/together.ts";
import { ratioAtLeast } from "./workloads/words.ts";

/** `scale` 1: a preloaded store of a million events. */
export function workloads(scale: number): readonly Workload[] {
  const million = Math.max(10_000, Math.round(1_000_000 * scale));
  const small = Math.max(1_000, Math.round(million / 10));
  const large = million * 10;
  return [
    ...appends,
    ...conditional(million),
    ...readsOf(million),
    ...fanOuts,
    ...groupConsume,
    ...beside(million),
    ...clients(million),
    ...databases(million),
    ...besideKurrentdb(million),
    ...byHttp(million),
    growth(small, million, "full"),
    growth(small, large, "long", ratioAtLeast(0.9)),
    starts(million, "quick"),
    starts(large, "long"),
    footprint(million),
    soak(Math.round(million / 5)),
  ];
}
