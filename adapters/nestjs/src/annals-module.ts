// `AnnalsModule`: one client for the application, its projections, and what checks them.

import {
  Inject,
  Module,
  type DynamicModule,
  type FactoryProvider,
  type ModuleMetadata,
  type Provider,
} from "@nestjs/common";
import { DiscoveryModule } from "@nestjs/core";
import {
  connect,
  repository,
  type AnnalsClient,
  type ConnectOptions,
  type Decider,
  type EventShape,
  type RepositoryOptions,
} from "annals-client";
import { AnnalsHealthIndicator } from "./health-indicator.js";
import { annalsClient, annalsOptions, repositoryToken } from "./injection-tokens.js";
import { AnnalsRuntime } from "./annals-runtime.js";

export { AnnalsHealthIndicator, type AnnalsHealth } from "./health-indicator.js";
export { AnnalsRuntime } from "./annals-runtime.js";
export { Projector, type ProjectorOptions } from "./projector-decorator.js";
export { annalsClient, repositoryToken } from "./injection-tokens.js";

/** `connect`'s options, and when the application is ready. */
export interface AnnalsModuleOptions extends ConnectOptions<any> {
  /**
   * The application's start waits so long for a server, and fails without one. Absent: it does not
   * wait. The first call fails if there is no server then.
   */
  readonly waitForServerMs?: number | undefined;
}

export interface AnnalsModuleAsyncOptions extends Pick<ModuleMetadata, "imports"> {
  readonly inject?: FactoryProvider["inject"];
  readonly useFactory: (...injected: any[]) => AnnalsModuleOptions | Promise<AnnalsModuleOptions>;
}

/** Injects the client: `AnnalsClient<YourEvent>`. */
export const InjectAnnals = (): ParameterDecorator & PropertyDecorator => Inject(annalsClient);

/** Injects the repository that `provideRepository` provides under this name. */
export const InjectRepository = (name: string): ParameterDecorator & PropertyDecorator =>
  Inject(repositoryToken(name));

/**
 * A repository as a provider. Snapshots that it is saving are finished before the application ends.
 */
export function provideRepository<State, Command, E extends EventShape>(
  name: string,
  decider: Decider<State, Command, E>,
  options: RepositoryOptions<State> = {},
): FactoryProvider {
  return {
    provide: repositoryToken(name),
    inject: [annalsClient, AnnalsRuntime],
    useFactory: (client: AnnalsClient<E>, runtime: AnnalsRuntime) => {
      const made = repository(client, decider, options);
      runtime.repositories.push(made);
      return made;
    },
  };
}

const client: Provider = {
  provide: annalsClient,
  inject: [annalsOptions],
  useFactory: ({ waitForServerMs: _, ...options }: AnnalsModuleOptions) => connect(options),
};

@Module({})
export class AnnalsModule {
  /** For the whole application. Call `app.enableShutdownHooks()`, too. */
  static forRoot(options: AnnalsModuleOptions = {}): DynamicModule {
    return AnnalsModule.with({ provide: annalsOptions, useValue: options });
  }

  /** With options that other providers have. */
  static forRootAsync(options: AnnalsModuleAsyncOptions): DynamicModule {
    const { imports = [], inject = [], useFactory } = options;
    return AnnalsModule.with({ provide: annalsOptions, inject, useFactory }, imports);
  }

  private static with(
    options: Provider,
    imports: NonNullable<ModuleMetadata["imports"]> = [],
  ): DynamicModule {
    return {
      module: AnnalsModule,
      global: true,
      imports: [DiscoveryModule, ...imports],
      providers: [options, client, AnnalsRuntime, AnnalsHealthIndicator],
      exports: [annalsClient, AnnalsRuntime, AnnalsHealthIndicator],
    };
  }
}
