// The message for a customer when a rule refuses a command. Any other error is a fault.

export class RefusedError extends Error {
  override readonly name = "RefusedError";
}
