// What a consumer says of itself, for those who look at a persistent subscription.

import type { Call } from "../../../grpc/transport/call-environment.ts";

export interface ConsumerIdentity {
  /** Its address. */
  readonly peer: string;
  /** As the client names its connection. Empty: it does not. */
  readonly connectionName: string;
  /** Its principal or, where nobody is asked who calls, the user that it says it is. */
  readonly user: string;
}

/** Longer texts are cut. */
const charsMax = 256;

export function identityOf({
  peer,
  principal,
  headers,
}: Pick<Call, "peer" | "principal" | "headers">): ConsumerIdentity {
  return {
    peer,
    connectionName: (headers.get("connection-name") ?? "").slice(0, charsMax),
    user: principal === "" ? saidUser(headers.get("authorization")) : principal,
  };
}

function saidUser(authorization = ""): string {
  const basic = /^basic +([a-z0-9+/]+=*)$/i.exec(authorization)?.[1] ?? "";
  const [user = "", password] = Buffer.from(basic, "base64").toString("utf8").split(":", 2);
  return password === undefined ? "" : user.slice(0, charsMax);
}
