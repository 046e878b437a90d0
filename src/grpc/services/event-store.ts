// The event store's service: each method of the contract, and the function that serves it.

import type { EventStoreService } from "../../gen/annals/v1/event_store_service_pb.js";
import { appendPipe } from "./append-pipe.ts";
import { append } from "./append.ts";
import type { Handlers } from "../transport/bind.ts";
import type { Context } from "./context.ts";
import { getInfo, getStream, listEventTypes, listStreams } from "./info.ts";
import { load, read, subscribe } from "./read.ts";
import { deleteSnapshots, getSnapshot, getState, listSnapshots, saveSnapshot } from "./snapshot.ts";

export function eventStore(context: Context): Handlers<typeof EventStoreService> {
  return {
    append: { bytes: (request, call) => append(context, request, call) },
    appendPipe: { bytes: (requests, call) => appendPipe(context, requests, call) },
    read: (request, call) => read(context, request, call),
    subscribe: (request, call) => subscribe(context, request, call),
    saveSnapshot: (request, call) => saveSnapshot(context, request, call),
    getSnapshot: (request) => getSnapshot(context, request),
    listSnapshots: (request) => listSnapshots(context, request),
    deleteSnapshots: (request, call) => deleteSnapshots(context, request, call),
    load: (request, call) => load(context, request, call),
    getState: (request, call) => getState(context, request, call),
    getStream: (request) => getStream(context, request),
    listStreams: (request) => listStreams(context, request),
    listEventTypes: (request) => listEventTypes(context, request),
    getInfo: () => getInfo(context),
  };
}
