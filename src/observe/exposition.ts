// From families to text: the format of Prometheus, or OpenMetrics where the reader asks for it. The
// package that writes it is loaded with the first look.

import type { Metric, Registry, RegistryContentType } from "prom-client";
import type { Family } from "./family.ts";

export interface Exposition {
  /** A content type. */
  readonly type: string;
  readonly text: string;
}

const openMetrics = /application\/openmetrics-text(;|,|\s|$)/;

/** `accept`: the header of the request. */
export async function expose(families: readonly Family[], accept: string): Promise<Exposition> {
  const { Registry: Formatter } = (await import("prom-client")).default;
  const { OPENMETRICS_CONTENT_TYPE, PROMETHEUS_CONTENT_TYPE } = Formatter;
  const isOpen = openMetrics.test(accept);
  const type: string = isOpen ? OPENMETRICS_CONTENT_TYPE : PROMETHEUS_CONTENT_TYPE;
  const registry: Registry<RegistryContentType> = new Formatter();
  registry.setContentType(isOpen ? OPENMETRICS_CONTENT_TYPE : PROMETHEUS_CONTENT_TYPE);
  for (const family of families) {
    // What a registry needs of a metric: its name, and what `get` answers.
    const metric = { ...family, get: () => Promise.resolve(metric) };
    registry.registerMetric(metric as unknown as Metric);
  }
  return { type, text: await registry.metrics() };
}
