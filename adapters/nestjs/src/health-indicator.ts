// A health indicator in the form of @nestjs/terminus, which it does not need.

import { Inject, Injectable } from "@nestjs/common";
import type { AnnalsClient, EventShape } from "annals-client";
import { AnnalsRuntime } from "./annals-runtime.js";
import { annalsClient } from "./injection-tokens.js";

export interface AnnalsHealth {
  readonly status: "up" | "down";
  /** Why it is down. */
  readonly message?: string;
  /** The head of the store. */
  readonly head?: number;
  /** By name: what each projection does, and how many positions it is behind. */
  readonly projections: Readonly<
    Record<string, { readonly state: string; readonly position: number; readonly behind: number }>
  >;
}

export interface HealthOptions {
  /** Absent: 2 s. */
  readonly timeoutMs?: number | undefined;
  /** Down if a projection is further behind. Absent: it may be. */
  readonly behindMax?: number | undefined;
}

@Injectable()
export class AnnalsHealthIndicator {
  constructor(
    @Inject(annalsClient) private readonly client: AnnalsClient<EventShape>,
    @Inject(AnnalsRuntime) private readonly runtime: AnnalsRuntime,
  ) {}

  /** Up: the server answers, and no projection has failed. Never rejects. */
  async isHealthy<Key extends string>(
    key: Key,
    options: HealthOptions = {},
  ): Promise<Record<Key, AnnalsHealth>> {
    return { [key]: await this.health(options) } as Record<Key, AnnalsHealth>;
  }

  private async health({ timeoutMs = 2_000, behindMax }: HealthOptions): Promise<AnnalsHealth> {
    let head: number | undefined;
    let message: string | undefined;
    try {
      ({ head } = await this.client.info({ timeoutMs }));
    } catch (error) {
      message = `the server does not answer: ${String(error)}`;
    }
    const projections: Record<string, AnnalsHealth["projections"][string]> = {};
    for (const [name, { status }] of this.runtime.projections) {
      const { state, position, error } = status;
      const behind = Math.max(0, (head ?? status.head) - position);
      projections[name] = { state, position, behind };
      if (state === "failed") message ??= `the projection ${name} failed: ${String(error)}`;
      const isFarBehind = behindMax !== undefined && behind > behindMax;
      if (isFarBehind) message ??= `the projection ${name} is ${behind} positions behind`;
    }
    const known = { ...(message && { message }), ...(head !== undefined && { head }) };
    return { status: message === undefined ? "up" : "down", ...known, projections };
  }
}
