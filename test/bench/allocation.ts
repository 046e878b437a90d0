// Bytes that some work allocates, collected or not, by V8's sampling heap profiler: a property of
// the code, not of the machine or of when the collector ran.
import { Session } from "node:inspector/promises";

const samplingBytes = 1_024;

interface Sampled {
  readonly selfSize: number;
  readonly children: readonly Sampled[];
}

export async function allocatedDuring(work: () => Promise<unknown>): Promise<number> {
  const session = new Session();
  session.connect();
  try {
    await session.post("HeapProfiler.startSampling", {
      samplingInterval: samplingBytes,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    });
    await work();
    const { profile } = await session.post("HeapProfiler.stopSampling");
    return sum(profile.head);
  } finally {
    session.disconnect();
  }
}

function sum({ selfSize, children }: Sampled): number {
  return children.reduce((bytes, child) => bytes + sum(child), selfSize);
}
