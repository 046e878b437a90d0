// Starts the projections once every provider is there, and ends everything in order: projections in
// the reverse order of their start, after the last request; then what repositories save; then the
// client.

import { Inject, Injectable, Logger } from "@nestjs/common";
import type { OnApplicationBootstrap, OnApplicationShutdown, OnModuleInit } from "@nestjs/common";
import { DiscoveryService, ModuleRef } from "@nestjs/core";
import {
  runProjection,
  type AnnalsClient,
  type EventShape,
  type Projection,
  type ReadModel,
  type Repository,
  type RunningProjection,
} from "annals-client";
import type { AnnalsModuleOptions } from "./annals-module.js";
import { annalsClient, annalsOptions } from "./injection-tokens.js";
import { projectorKey, type ProjectorOptions } from "./projector-decorator.js";

@Injectable()
export class AnnalsRuntime implements OnModuleInit, OnApplicationBootstrap, OnApplicationShutdown {
  readonly repositories: Pick<Repository<any, any, any>, "settled">[] = [];
  private readonly running = new Map<string, RunningProjection>();
  private readonly logger = new Logger("Annals");

  constructor(
    @Inject(annalsClient) private readonly client: AnnalsClient<EventShape>,
    @Inject(annalsOptions) private readonly options: AnnalsModuleOptions,
    @Inject(DiscoveryService) private readonly discovery: DiscoveryService,
    @Inject(ModuleRef) private readonly modules: ModuleRef,
  ) {}

  /** By name, in the order of their start. */
  get projections(): ReadonlyMap<string, RunningProjection> {
    return this.running;
  }

  /** Throws if there is no such projection. */
  projection(name: string): RunningProjection {
    const found = this.running.get(name);
    if (found === undefined) throw new Error(`no projection ${name} is running`);
    return found;
  }

  /** Resolves when every projection has got to a position, to read one's own writes. */
  async waitFor(position: number, timeoutMs = 10_000): Promise<void> {
    const all = [...this.running.values()];
    await Promise.all(all.map((each) => each.waitFor(position, { timeoutMs })));
  }

  async onModuleInit(): Promise<void> {
    const { waitForServerMs } = this.options;
    if (waitForServerMs === undefined) return;
    await this.client.ready(waitForServerMs).catch((error: unknown) => this.giveUp(error));
  }

  async onApplicationBootstrap(): Promise<void> {
    try {
      for (const { instance } of this.discovery.getProviders()) {
        const options = optionsOf(instance);
        if (options !== undefined) this.start(instance as Projection<any, any>, options);
      }
    } catch (error) {
      await this.giveUp(error);
    }
  }

  /** Nest calls no hook where a start fails. */
  private async giveUp(error: unknown): Promise<never> {
    await this.onApplicationShutdown();
    throw error;
  }

  private start(projector: Projection<any, any>, { model, ...options }: ProjectorOptions): void {
    const { name } = projector;
    if (this.running.has(name)) throw new Error(`two projections have the name ${name}`);
    const readModel = this.modules.get<ReadModel<unknown>>(model, { strict: false });
    const projection = runProjection(this.client, bound(projector), readModel, options);
    this.running.set(name, projection);
    projection.done.catch((error: unknown) => {
      this.logger.error(`the projection ${name} failed and stopped`, error);
    });
    this.logger.log(`the projection ${name} runs`);
  }

  async onApplicationShutdown(): Promise<void> {
    for (const [name, projection] of [...this.running].toReversed()) {
      await projection.stop().catch(() => undefined);
      this.logger.log(`the projection ${name} stopped at ${projection.status.position}`);
    }
    await Promise.all(this.repositories.map((each) => each.settled()));
    this.client.close();
  }
}

function optionsOf(instance: unknown): ProjectorOptions | undefined {
  const type = (instance as object | null | undefined)?.constructor;
  return type && (Reflect.getMetadata(projectorKey, type) as ProjectorOptions | undefined);
}

/** Its functions, with the provider as `this`. */
function bound(projector: Projection<any, any>): Projection<any, any> {
  const { name, version, query, missingEvents, setup, when } = projector;
  const handlers = Object.entries(when).map(([type, handle]) => [type, handle?.bind(projector)]);
  const functions = { setup: setup.bind(projector), when: Object.fromEntries(handlers) };
  return { name, version, query, missingEvents, ...functions };
}
