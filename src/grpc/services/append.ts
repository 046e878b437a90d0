// Append: from request bytes to the log and back.

import type { Append, Outcome } from "../../domain/append.ts";
import {
  AnnalsError,
  appendConflict,
  beyondHead,
  checkpointBackwards,
  streamTombstoned,
} from "../../domain/errors.ts";
import type { AppendResponse } from "../../gen/annals/v1/append_pb.js";
import type { Encoded } from "../transport/bind.ts";
import type { Call } from "../transport/call.ts";
import type { Context } from "./context.ts";
import { appendFromBytes } from "../convert/append.ts";
import { appendResponse, idsToTell } from "../convert/appended.ts";

export async function append(
  context: Context,
  request: Buffer,
  call: Call,
): Promise<Encoded<AppendResponse>> {
  const converted = appendFromBytes(request, context);
  const ahead = context.log.lookAhead(converted);
  const ready = ahead === undefined ? converted : await ahead;
  const { outcome, head } = await context.log.append(ready, call);
  return answerOf(ready, outcome, head);
}

/** The answer's bytes; a refusal is thrown. */
export function answerOf(
  converted: Append,
  outcome: Outcome,
  head: number,
): Encoded<AppendResponse> {
  switch (outcome.kind) {
    case "appended":
      return appendResponse(outcome, head, idsToTell(converted));
    case "conflict":
      throw appendConflict(outcome);
    case "event-id-conflict": {
      const [first] = outcome.events;
      const more = outcome.events.length > 1 ? ` (and ${outcome.events.length - 1} more)` : "";
      const message = `event ${first?.id} is recorded at position ${first?.position}, but with ${
        first === undefined ? "" : problemTexts[first.problem]
      }${more}`;
      throw new AnnalsError({ reason: "EVENT_ID_CONFLICT", conflict: outcome }, message);
    }
    case "tombstoned":
      throw streamTombstoned(outcome);
    case "checkpoint-backwards":
      throw checkpointBackwards(outcome);
    case "beyond-head":
      throw beyondHead(outcome);
  }
}

const problemTexts = {
  "other-content": "other content",
  "other-stream": "another stream",
  "other-order": "another order of events",
  "partly-recorded": "others of this append missing",
} as const;
