// A call that one server of a store forwards to another one carries who makes it: what was proven,
// signed with a key that only the servers of the store have. The other server judges it by its own
// files, as if it had proven it itself.
//
//   header = base64url(JSON { method, untilMs, proof }) "." base64url(HMAC-SHA256 of the former)
//
// It holds for one method and for seconds, so that one that is seen by others is of little use.

import { createHmac, timingSafeEqual } from "node:crypto";
import type { Proof } from "./principal.ts";

export const forwardedHeader = "annals-forwarded";

const validMs = 30_000;
/** The clocks of servers differ. */
const skewMs = 60_000;

export class ForwardedProofs {
  private readonly key: Uint8Array;
  private readonly nowMs: () => number;

  /** `secret` is known to the servers of the store alone. */
  constructor(secret: Uint8Array, nowMs: () => number) {
    this.key = createHmac("sha256", secret).update("annals forwarded calls 1").digest();
    this.nowMs = nowMs;
  }

  /** `method` as in `annals.v1.ConsumerGroupService/Consume`. Undefined: nobody was asked. */
  sign(method: string, proof: Proof | undefined): string {
    const untilMs = this.nowMs() + validMs;
    const body = Buffer.from(JSON.stringify({ method, untilMs, proof })).toString("base64url");
    return `${body}.${this.macOf(body).toString("base64url")}`;
  }

  /** What was proven. Undefined: the header is not valid here and now, or nothing was proven. */
  verify(header: string, method: string): Proof | undefined {
    const [body = "", mac = "", ...more] = header.split(".");
    const given = Buffer.from(mac, "base64url");
    const own = this.macOf(body);
    if (more.length > 0 || given.length !== own.length || !timingSafeEqual(given, own)) {
      return undefined;
    }
    const said = JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as {
      readonly method: string;
      readonly untilMs: number;
      readonly proof?: Proof;
    };
    const leftMs = said.untilMs + skewMs - this.nowMs();
    const isNow = leftMs > 0 && leftMs <= validMs + 2 * skewMs;
    return isNow && said.method === method ? said.proof : undefined;
  }

  private macOf(body: string): Buffer {
    return createHmac("sha256", this.key).update(body).digest();
  }
}
