// Where operators look: on the port of the clients, where `/metrics` asks who calls if calls do,
// and on a port of its own, which is for a network of operators.

import type { AccessControl } from "../access/access-control.ts";
import { HttpServer, type HttpOptions } from "../http/http-server.ts";
import { Observation, type Observed } from "./observe.ts";

export class OperatorsHttp {
  /** For what comes to the clients' port. */
  readonly shared: HttpServer;
  private readonly own: HttpServer;
  private readonly observation: Observation;

  /** `onStream` and `routes` serve what else comes to the clients' port. */
  constructor(
    { onStream, routes }: Pick<HttpOptions, "onStream" | "routes">,
    observed: Observed,
    access: AccessControl | undefined,
  ) {
    const onFault = (error: unknown, path: string): void =>
      observed.warn(`an HTTP request failed: ${path}`, error);
    this.observation = new Observation(observed);
    const { memory } = observed;
    this.shared = new HttpServer({
      routes: new Map([...routes, ...this.observation.routes(access)]),
      budgetOf: (connection) => memory.open(connection),
      ...(onStream && { onStream }),
      onFault,
    });
    this.own = new HttpServer({ routes: this.observation.routes(undefined), onFault });
  }

  /** Answers the address with the bound port. */
  async listen(host: string, port: number): Promise<string> {
    try {
      return await this.own.listen(host, port);
    } catch (error) {
      const { message } = error as Error;
      throw new Error(`cannot listen on ${host}:${port}: ${message}`, { cause: error });
    }
  }

  stop(): void {
    this.shared.stop();
    this.own.stop();
    this.observation.close();
  }
}
