// What OpenSSL reports of a failed handshake is a line for its developers: thread, code, library,
// function, reason, file and line. Only the reason is for the person who reads the error.

const openSslLine = /[0-9A-F]+:error:[0-9A-F]{8}:[^:\n]*:[^:\n]*:([^:\n]+):[^\n]*\n?\s*/g;

export function plainTlsProblem(text: string): string {
  return text.replace(openSslLine, "TLS: $1 ").trimEnd();
}
