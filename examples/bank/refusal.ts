// What a customer is told when a rule says no. Anything else that is thrown is a fault.

export class RefusedError extends Error {
  override readonly name = "RefusedError";
}
