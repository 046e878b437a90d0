// Consumers: each processor follows the store by itself, with a checkpoint of its own in Annals, so
// that one that fails takes nothing from the others. With `group`, each processor is a member of a
// consumer group instead, whose members share the events.

import * as Emmett from "@event-driven-io/emmett";
import { newEventId, type AnnalsClient, type GroupSettings, type QueryItem } from "annals-client";
import type { AnnalsHandlerContext } from "./annals-event-store.js";
import { CheckpointCursor } from "./checkpoint-cursor.js";
import { readEvent, type ReadMetadata, type StoredMessage } from "./stored-messages.js";

export type AnnalsProcessor = Emmett.MessageProcessor<any, ReadMetadata, AnnalsHandlerContext>;
export type AnnalsReactorOptions<M extends Emmett.AnyMessage = any> = Emmett.ReactorOptions<
  M,
  ReadMetadata,
  AnnalsHandlerContext
>;
export type AnnalsProjectorOptions<E extends Emmett.AnyEvent = any> = Emmett.ProjectorOptions<
  E,
  ReadMetadata,
  AnnalsHandlerContext
>;

export interface ConsumerOptions {
  /** For people: the name as a member of groups. Absent: a new id. */
  readonly consumerId?: string;
  /** Processors that were made elsewhere, with checkpoints of their own, or none. */
  readonly processors?: readonly Emmett.MessageProcessor<any, any, any, any>[];
  /** Which events, besides the types that a processor can handle. Absent: all. */
  readonly query?: QueryItem;
  /** The most events between two checkpoints. Absent: 100. */
  readonly batchSize?: number;
  /**
   * Processors share the events of a consumer group of their name with those in other processes,
   * `permits` (absent: 16) at a time. A handler that throws is called again later, and its event
   * parked in the end. The settings count for a group that is not there yet.
   */
  readonly group?: boolean | (Omit<GroupSettings, "query"> & { readonly permits?: number });
}

export interface AnnalsConsumer extends Emmett.MessageConsumer {
  reactor<M extends Emmett.AnyMessage>(options: AnnalsReactorOptions<M>): AnnalsProcessor;
  projector<E extends Emmett.AnyEvent>(options: AnnalsProjectorOptions<E>): AnnalsProcessor;
}

interface Registered {
  readonly processor: AnnalsProcessor;
  readonly query: QueryItem;
  /** Absent: it has checkpoints of its own, or none. */
  readonly cursor?: CheckpointCursor | undefined;
  readonly startFrom?: AnnalsReactorOptions["startFrom"];
}

export function annalsConsumer(
  client: AnnalsClient<StoredMessage>,
  context: AnnalsHandlerContext,
  { query: within = {}, group = false, batchSize = 100, ...options }: ConsumerOptions = {},
): AnnalsConsumer {
  const { processors: given = [], consumerId = newEventId() } = options;
  const registered: Registered[] = given.map((processor) => ({ processor, query: within }));
  let stopping = new AbortController();
  let running: Promise<void> | undefined;

  function register(
    its: AnnalsReactorOptions,
    make: (options: AnnalsReactorOptions) => AnnalsProcessor,
  ): AnnalsProcessor {
    const { processorId, partition, checkpoints, canHandle, messageOptions, startFrom } = its;
    if (its.eachBatch !== undefined) {
      // Emmett 0.42 passes over all its messages.
      throw new Emmett.EmmettError(`${processorId}: eachBatch is never called: use eachMessage`);
    }
    const isOwn = checkpoints === undefined && group === false;
    const name = partition === undefined ? processorId : `${processorId}:${partition}`;
    const cursor = isOwn ? new CheckpointCursor(client, name) : undefined;
    const processor = make(cursor ? { ...its, checkpoints: cursor.checkpointer } : its);
    // An upcast may change types.
    const types = messageOptions?.schema?.versioning?.upcast ? undefined : canHandle;
    const query = types === undefined ? within : { ...within, types };
    registered.push({ processor, query, cursor, startFrom });
    return processor;
  }

  async function run(): Promise<void> {
    if (registered.length === 0) throw new Emmett.EmmettError("a consumer needs a processor");
    stopping = new AbortController();
    const { signal } = stopping;
    const ends = registered.map(async (each) => {
      const { isActive, id } = each.processor;
      if (isActive) throw new Emmett.EmmettError(`the processor ${id} is active already`);
      try {
        await (group === false ? follow(each, signal) : share(each, signal));
      } catch (error) {
        if (signal.aborted && error === signal.reason) return;
        // The others stop in order, and all of them go on with the next start.
        stopping.abort();
        throw error;
      } finally {
        await each.processor.close(context);
      }
    });
    const failed = (await Promise.allSettled(ends)).find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  }

  /** Hands batches to the processor until it stops. What it has handled is saved. */
  async function follow({ processor, query, cursor }: Registered, signal: AbortSignal) {
    await cursor?.begin();
    const from = await processor.start(context);
    const checkpoint = typeof from === "object" ? Number(from.lastCheckpoint) : undefined;
    const after = from === "END" ? "end" : checkpoint;
    const asked = { query, after, epoch: cursor?.epochOf(after), signal } as const;
    const events = client.subscribe({ ...asked, batchEventsMax: batchSize });
    for await (const message of events.messages()) {
      const { position, epoch } = message;
      if (message.kind === "events" && processor.isActive) {
        const messages = message.events.map(readEvent) as never;
        try {
          const result = await processor.handle(messages, context);
          if (result?.type === "STOP" && result.error) throw result.error;
        } catch (error) {
          await cursor?.save(epoch).catch(() => undefined);
          throw error;
        }
      }
      if (!processor.isActive) return cursor?.save(epoch);
      await cursor?.reach(position, epoch);
    }
  }

  async function share({ processor, query, startFrom }: Registered, signal: AbortSignal) {
    const { permits = 16, ...settings } = typeof group === "object" ? group : {};
    const place = typeof startFrom === "object" ? Number(startFrom.lastCheckpoint) : undefined;
    const after = startFrom === "END" ? "end" : place;
    if ((await client.groups.get(processor.id)) === undefined) {
      await client.groups.create(processor.id, { ...settings, query, after });
    }
    await processor.start(context);
    const leaving = new AbortController();
    const ends = AbortSignal.any([signal, leaving.signal]);
    const member = client.group(processor.id, { permits, member: consumerId, signal: ends });
    await member.work(async (event, { nack }) => {
      // Another one takes it.
      if (!processor.isActive) return nack({ delayMs: 0, reason: "the processor stopped" });
      await processor.handle([readEvent(event)] as never, context);
      if (!processor.isActive) leaving.abort();
    });
  }

  /** What is being handled is finished, and saved. */
  async function stop(): Promise<void> {
    stopping.abort();
    await running?.catch(() => undefined);
  }

  return {
    consumerId,
    get isRunning() {
      return running !== undefined;
    },
    get processors() {
      return registered.map(({ processor }) => processor);
    },
    reactor: (its) => register(its, Emmett.reactor),
    projector(its) {
      const { projection, hooks } = its;
      const { version = 1, name = "unnamed", canHandle, eventsOptions } = projection;
      const about = { version, status: "active", registrationType: "async" } as const;
      const onInit = async (context: AnnalsHandlerContext) => {
        await projection.init?.({ ...about, context });
        await hooks?.onInit?.(context);
      };
      const { processorId = `emt:processor:projector:${name}` } = its;
      const own = { ...its, processorId, hooks: { ...hooks, onInit } };
      const asked = { ...own, canHandle, messageOptions: eventsOptions, eachMessage: () => {} };
      return register(asked as never, ({ checkpoints }) =>
        Emmett.projector({ ...own, ...(checkpoints && { checkpoints }) }),
      );
    },
    start: () => (running ??= run().finally(() => (running = undefined))),
    stop,
    close: stop,
  };
}
