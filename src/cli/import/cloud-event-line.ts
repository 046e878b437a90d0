// A CloudEvent in JSON, as an event that is imported. docs/http.md has the mapping.

import { AnnalsError } from "../../domain/errors.ts";
import { cloudEventsOfJson } from "../../grpc/web/cloud-event.ts";
import { LineError, type LineEvent } from "../output/event-line.ts";

/** Whether the text is that of a CloudEvent. False also for text that is not JSON. */
export function isCloudEvent(text: string): boolean {
  if (!text.includes('"specversion"')) return false;
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null && "specversion" in value;
  } catch {
    return false;
  }
}

/** `inStream`: events that name no stream have one. Throws `LineError`. */
export function eventOfCloudEvent(text: string, inStream: boolean): LineEvent {
  try {
    const [event] = cloudEventsOfJson(Buffer.from(text), false, inStream);
    if (event === undefined) throw new LineError("not a CloudEvent");
    const { id, stream, type, tags, metadata, payload } = event;
    const contentType = event.contentType || "application/octet-stream";
    const value = payload.case === "data" ? payload.value : undefined;
    return {
      id,
      stream,
      type,
      tags,
      metadata,
      contentType,
      payload: value === undefined ? { case: undefined } : { case: "data", value },
    };
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.failure.reason !== "INVALID_FIELD") throw error;
    throw new LineError(error.message, { cause: error });
  }
}
