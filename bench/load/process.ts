// The load process: runs jobs of its parent one after another, answers each with its result, and
// ends with its parent.

import { runJob } from "./run-job.ts";
import type { LoadJob } from "./job.ts";

process.on("message", (job: LoadJob) => {
  runJob(job).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: (error as Error).message }),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: true });
