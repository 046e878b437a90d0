// The error for a store that is not served, with the findings and how to accept them.

export class StoreRefused extends Error {
  readonly folder: string;
  readonly findings: readonly string[];
  /**
   * The token that `--accept-loss` needs to serve the store anyway. Absent: the loss cannot be
   * accepted.
   */
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
