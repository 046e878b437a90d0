// The load process: takes jobs one after the other from its parent, answers each with its result,
// and ends with it.

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
