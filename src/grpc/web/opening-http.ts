// HTTP on the clients' port while the store is being opened: the process is alive, and whatever
// else is asked is refused for the moment.

import { HttpServer, plainText, type HttpOptions } from "../../http/http-server.ts";
import { notOpen, unheardOn } from "../transport/grpc-server.ts";
import { statusOf } from "../transport/status.ts";
import { respondWithError } from "./http-status.ts";

/** To be stopped where the store does not open. */
export function openingHttp(options: Pick<HttpOptions, "budgetOf" | "onFault">): HttpServer {
  const alive = { status: 200, type: plainText, body: "alive; the store is being opened\n" };
  return new HttpServer({
    ...options,
    routes: new Map([["/healthz", () => alive]]),
    onStream(stream) {
      respondWithError(stream, statusOf(notOpen()), [["retry-after", "1"]]);
      return unheardOn(stream);
    },
  });
}
