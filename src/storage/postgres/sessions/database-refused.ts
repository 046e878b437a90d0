// The error for a database that is not served, in one line.

export class DatabaseRefused extends Error {
  override readonly name = "DatabaseRefused";
}
