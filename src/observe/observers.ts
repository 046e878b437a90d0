// Several that are told of calls, as one.

import type { CallObserver } from "../grpc/transport/call-observer.ts";

/** Undefined: there is nobody to tell. */
export function together(
  observers: readonly (CallObserver | undefined)[],
): CallObserver | undefined {
  const all = observers.filter((each) => each !== undefined);
  if (all.length < 2) return all[0];
  const [around] = all.filter((each) => each.around !== undefined);
  return {
    begun(call) {
      for (const each of all) each.begun?.(call);
    },
    ...(around && { around: (call, work) => around.around?.(call, work) ?? work() }),
    ended(call, end) {
      for (const each of all) each.ended(call, end);
    },
    refused(reason) {
      for (const each of all) each.refused?.(reason);
    },
  };
}
