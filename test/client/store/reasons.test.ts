// The table of reasons: complete against the contract and the server, and in force for SDK errors and
// failed calls alike.
import { describe, expect, expectTypeOf, test } from "vitest";
import { CallError, type ContractReason } from "../../../src/client/rpc/call-error.ts";
import { isWorthRetrying, storeErrorOf } from "../../../src/client/store/call-failure.ts";
import { AnnalsError } from "../../../src/client/store/errors.ts";
import { outlooks } from "../../../src/client/store/reasons.ts";
import type { Reason } from "../../../src/domain/errors.ts";
import { ErrorReasonSchema } from "../../../src/gen/annals/v1/errors_pb.js";

/** What a client finds by itself. */
const ownReasons = ["NO_CONNECTION", "UNREACHABLE", "CUT_OFF", "TIMED_OUT", "NOT_SAID"] as const;

describe("the table of reasons", () => {
  test("has every reason of the contract, those of the client, and no other", () => {
    const contract = ErrorReasonSchema.values.map(({ localName }) => localName);
    const wanted = [...contract.filter((name) => name !== "UNSPECIFIED"), ...ownReasons];
    expect(Object.keys(outlooks).toSorted()).toEqual(wanted.toSorted());
  });

  test("has every reason the server may fail with", () => {
    // What the gRPC room adds stands for faults and for calls that there are not.
    expectTypeOf<Reason | "INTERNAL" | "UNIMPLEMENTED">().toEqualTypeOf<ContractReason>();
  });

  test("calls transient what the contract says to retry, and open what may have been stored", () => {
    const named = (which: keyof (typeof outlooks)["INTERNAL"]) =>
      Object.entries(outlooks).flatMap(([reason, outlook]) => (outlook[which] ? [reason] : []));
    expect(named("isTransient").toSorted()).toEqual([
      "CANCELLED",
      "COPY_INCOMPLETE",
      "CUT_OFF",
      "DEADLINE_EXCEEDED",
      "DISK_FULL",
      "GROUPS_ELSEWHERE",
      "NO_CONNECTION",
      "OUTCOME_UNKNOWN",
      "OVERLOADED",
      "READ_OVERTAKEN",
      "RECOVERING",
      "STOPPING",
      "TIMED_OUT",
      "UNREACHABLE",
    ]);
    expect(named("mayHaveBeenStored").toSorted()).toEqual([
      "CUT_OFF",
      "INTERNAL",
      "NOT_SAID",
      "OUTCOME_UNKNOWN",
      "STORE_FAILED",
      "TIMED_OUT",
      "UNREACHABLE",
    ]);
  });

  test.each(Object.entries(outlooks))(
    "is what a failed call and the SDK's error for it go by: %s",
    (reason, outlook) => {
      const call = new CallError(2, "no", {
        reason,
        conflict: { streams: [], conditions: [], events: [] },
        isRenewable: false,
      } as never);
      expect(isWorthRetrying(call)).toBe(outlook.isTransient);
      const error = storeErrorOf(call);
      if (!(error instanceof AnnalsError)) return expect.unreachable();
      const { isTransient, mayHaveBeenStored } = error;
      expect({ isTransient, mayHaveBeenStored }).toEqual(outlook);
      expect(isWorthRetrying(error)).toBe(outlook.isTransient);
    },
  );
});
