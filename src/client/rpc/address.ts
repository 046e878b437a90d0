// Addresses of servers, as people write them: `host:port`, `host`, `[::1]:7420` or `unix:path`.

/** The default port of a server. */
export const defaultPort = 7420;
export const loopback = "127.0.0.1";
export const defaultAddress = `${loopback}:${defaultPort}`;

/** The gRPC target of an address. Throws a `TypeError` that names the fault. */
export function targetOf(address: string): string {
  if (address.startsWith("unix:")) {
    const path = address.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    if (path === "") throw new TypeError(`"${address}" names no socket: write unix:PATH`);
    return `unix:${path}`;
  }
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+)(?::(\d{1,5}))?$/.exec(address);
  if (parts === null) {
    throw new TypeError(`"${address}" is no address: write HOST:PORT, [IPV6]:PORT or unix:PATH`);
  }
  const port = parts[2] === undefined ? defaultPort : Number(parts[2]);
  if (port < 1 || port > 65_535) throw new TypeError(`"${address}": there is no port ${port}`);
  return `dns:${parts[1]}:${port}`;
}
