// `@Projector`: a provider that is a projection.

import { SetMetadata, type InjectionToken } from "@nestjs/common";
import type { Projection, RunOptions } from "annals-client";

export interface ProjectorOptions extends Omit<RunOptions, "signal"> {
  /** The provider that is the read model, such as `sqliteReadModel(database)`. */
  readonly model: InjectionToken;
}

export const projectorKey = Symbol("AnnalsProjector");

/**
 * Runs a provider as a projection, from the application's start to its end. The class implements
 * `Projection<YourEvent, Tx>`.
 */
export function Projector(options: ProjectorOptions) {
  const decorate = SetMetadata(projectorKey, options);
  return <C extends new (...injected: any[]) => Projection<any, any>>(target: C): void => {
    decorate(target);
  };
}
