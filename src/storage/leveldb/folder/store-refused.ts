// A store that is not served: what was found, and how to accept it knowingly.

export class StoreRefused extends Error {
  readonly folder: string;
  readonly findings: readonly string[];
  /** What `--accept-loss` must be given to serve the store all the same; absent: nothing helps. */
  readonly token: string | undefined;

  constructor(folder: string, findings: readonly string[], token?: string) {
    const list = findings.map((finding) => `  - ${finding}`).join("\n");
    const advice = token
      ? `\nRestore a backup, or accept the loss for good with --accept-loss ${token}`
      : "";
    super(`the store in ${folder} is not served:\n${list}${advice}`);
    this.name = "StoreRefused";
    this.folder = folder;
    this.findings = findings;
    this.token = token;
  }
}
