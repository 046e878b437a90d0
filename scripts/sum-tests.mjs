// Adds up the test reports in .tmp/reports and prints the closing line `N passed, N failed`. A test
// file that could not be loaded counts as one failure.
import { globSync, readFileSync } from "node:fs";

const sum = { passed: 0, failed: 0, skipped: 0 };
for (const path of globSync(".tmp/reports/*.json")) {
  const report = JSON.parse(readFileSync(path, "utf8"));
  sum.passed += report.numPassedTests;
  sum.failed += report.numFailedTests;
  sum.skipped += report.numPendingTests + report.numTodoTests;
  for (const file of report.testResults) {
    const told = file.assertionResults.some((result) => result.status === "failed");
    if (file.status === "failed" && !told) sum.failed += 1;
  }
}
const skipped = sum.skipped > 0 ? `, ${sum.skipped} skipped` : "";
console.log(`${sum.passed} passed, ${sum.failed} failed${skipped}`);
