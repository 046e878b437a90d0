// The process's metrics: CPU, memory by kind, descriptors, and how late the event loop is. The
// delay is measured from the first look on, and tells of half a minute at a time.

import { readdirSync, readFileSync } from "node:fs";
import { monitorEventLoopDelay, performance, type IntervalHistogram } from "node:perf_hooks";
import { counter, gauge, type Family } from "./family.ts";

const windowMs = 30_000;
const resolutionMs = 20;
const nanosPerSecond = 1e9;
const microsPerSecond = 1e6;

export class ProcessFamilies {
  private readonly startedSeconds = (Date.now() - performance.now()) / 1_000;
  private delay: IntervalHistogram | undefined;
  private sinceMs = 0;

  families(): Family[] {
    return [...cpu(), ...memory(), ...descriptors(), ...this.loop(), this.started()];
  }

  close(): void {
    this.delay?.disable();
  }

  private started(): Family {
    const help = "When the process started.";
    return gauge("process_start_time_seconds", help, this.startedSeconds);
  }

  private loop(): Family[] {
    const { utilization } = performance.eventLoopUtilization();
    const help = "The share of time that the event loop was busy, since the start.";
    return [gauge("nodejs_eventloop_utilization", help, utilization), ...this.delays()];
  }

  /** None at the first look. */
  private delays(): Family[] {
    if (this.delay === undefined) {
      this.delay = monitorEventLoopDelay({ resolution: resolutionMs });
      this.delay.enable();
      this.sinceMs = performance.now();
      return [];
    }
    const { delay } = this;
    if (delay.count === 0) return [];
    // The time between two measurements is no delay.
    const late = (nanos: number): number =>
      Math.max(0, nanos / nanosPerSecond - resolutionMs / 1_000);
    const told = (which: string, nanos: number): Family =>
      gauge(`nodejs_eventloop_delay_${which}_seconds`, `Event loop delay: ${which}.`, late(nanos));
    const families = [
      told("mean", delay.mean),
      told("p50", delay.percentile(50)),
      told("p99", delay.percentile(99)),
      told("max", delay.max),
    ];
    if (performance.now() - this.sinceMs >= windowMs) {
      delay.reset();
      this.sinceMs = performance.now();
    }
    return families;
  }
}

function cpu(): Family[] {
  const { user, system } = process.cpuUsage();
  const seconds = (user + system) / microsPerSecond;
  return [counter("process_cpu_seconds_total", "CPU time, user and system.", seconds)];
}

function memory(): Family[] {
  const { rss, heapTotal, heapUsed, external, arrayBuffers } = process.memoryUsage();
  return [
    gauge("process_resident_memory_bytes", "Resident memory.", rss),
    gauge("nodejs_memory_bytes", "Memory of Node by kind.", [
      [{ kind: "heap_total" }, heapTotal],
      [{ kind: "heap_used" }, heapUsed],
      [{ kind: "external" }, external],
      [{ kind: "array_buffers" }, arrayBuffers],
    ]),
  ];
}

/** None where the system does not tell. */
function descriptors(): Family[] {
  try {
    const open = readdirSync("/proc/self/fd").length;
    const limits = readFileSync("/proc/self/limits", "latin1");
    const max = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.NaN);
    const families = [gauge("process_open_fds", "Open descriptors.", open)];
    if (Number.isNaN(max)) return families;
    return [...families, gauge("process_max_fds", "The most descriptors.", max)];
  } catch {
    return [];
  }
}
