// The error for a store that is not served, with the findings and how to accept them.

export class StoreRefused extends Error {
  readonly folder: string;
  readonly findings: readonly string[];
  /**
   * The token that `--accept-loss` needs to serve the store anyway. Absent: the loss cannot be
   * accepted.
   */
  readonly token: string | undefined;

  /**
   * `remedy`: the token that accepts the loss, or `salvage` if LevelDB cannot serve what is left.
   */
  constructor(
    folder: string,
    findings: readonly string[],
    remedy?: { readonly token: string } | "salvage",
  ) {
    const list = findings.map((finding) => `  - ${finding}`).join("\n");
    const token = typeof remedy === "object" ? remedy.token : undefined;
    const salvage = `annals salvage ${folder} NEW-FOLDER makes a new store of everything sound`;
    const ways = [
      ...(token ? [`accept the loss for good with --accept-loss ${token}`] : []),
      ...(remedy === "salvage" ? [salvage] : []),
    ];
    const advice = ways.map((way) => `\nRestore a backup, or ${way}`).join("");
    super(`the store in ${folder} is not served:\n${list}${advice}`);
    this.name = "StoreRefused";
    this.folder = folder;
    this.findings = findings;
    this.token = token;
  }
}

/** Another process has the store open. This passes when that process ends. */
export class StoreHeld extends StoreRefused {
  constructor(folder: string) {
    super(folder, ["another process has the store open"]);
  }
}

/** A newer program wrote the store. What its bytes mean is not known here. */
export class StoreTooNew extends StoreRefused {
  constructor(folder: string, version: number, known: number) {
    super(folder, [`it has format version ${version}; this server knows up to ${known}`]);
  }
}
