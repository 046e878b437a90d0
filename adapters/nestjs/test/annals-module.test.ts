// The module in a real application.

import "reflect-metadata";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Injectable, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { connect, memoryReadModel, newEventId, type AnnalsClient } from "annals-client";
import {
  AnnalsHealthIndicator,
  AnnalsModule,
  AnnalsRuntime,
  annalsClient,
  Projector,
} from "annals-nestjs";
import { startApp } from "./accounts-app.js";

const within = { timeout: 90_000 };
const address = process.env["ANNALS_ADDRESS"];
const quiet = { logger: false, abortOnError: false } as const;

async function contextOf(...providers: object[]) {
  @Module({ imports: [AnnalsModule.forRoot({ address })], providers: providers as never })
  class App {}
  return NestFactory.createApplicationContext(App, quiet);
}

const setup = () => {};

describe("an application", () => {
  test("handles commands, projects events once, and reads its own writes", within, async () => {
    const { app, call } = await startApp();
    const id = `account-${newEventId()}`;
    const { body } = await call(`accounts/${id}`, { do: "deposit", amount: 30 });
    assert.equal(body.balance, 30);
    const after = await call(`accounts/${id}`, { do: "withdraw", amount: 10 });
    const read = await call(`accounts/${id}/${after.body.position}`);
    assert.deepEqual(read.body, { cents: 2_000 });
    const refused = await call(`accounts/${id}`, { do: "withdraw", amount: 99 });
    assert.equal(refused.status, 500);
    await app.close();
  });

  test(
    "is healthy while the server answers, and says how far its projections are",
    within,
    async () => {
      const { app, call, runtime } = await startApp();
      const { body } = await call(`accounts/account-${newEventId()}`, { do: "deposit", amount: 1 });
      await runtime.waitFor(body.position, 60_000);
      const { status, body: health } = await call("health");
      assert.equal(status, 200, JSON.stringify(health));
      assert.equal(health.status, "ok");
      const { projections, head } = health.details.annals;
      assert.deepEqual(Object.keys(projections), ["balances", "counts"]);
      assert.ok(head >= body.position && projections.balances.position >= body.position);
      await app.close();
    },
  );

  test("ends in order: projections last to first, snapshots, the client", within, async () => {
    const { app, call, runtime } = await startApp();
    const stopped: string[] = [];
    for (const [name, { done }] of runtime.projections) void done.then(() => stopped.push(name));
    const id = `account-${newEventId()}`;
    for (let n = 1; n <= 5; n++) await call(`accounts/${id}`, { do: "deposit", amount: 1 });
    const client = app.get<AnnalsClient<never>>(annalsClient, { strict: false });
    await app.close();
    assert.deepEqual(stopped, ["counts", "balances"]);
    await assert.rejects(client.info({ timeoutMs: 500 }));
    const other = connect({ address });
    assert.equal((await other.snapshots.list(id)[Symbol.asyncIterator]().next()).value?.version, 5);
    other.close();
  });

  test("says which projection failed, and works on", within, async () => {
    const { app, call, runtime } = await startApp();
    const id = `account-${newEventId()}`;
    const unlucky = await call(`accounts/${id}`, { do: "deposit", amount: 13 });
    await assert.rejects(runtime.projection("counts").done, /thirteen/);
    const { status, body } = await call("health");
    assert.equal(status, 503, JSON.stringify(body));
    assert.match(body.error.annals.message, /the projection counts failed: .*thirteen/);
    const read = await call(`accounts/${id}/${unlucky.body.position}`);
    assert.deepEqual(read.body, { cents: 1_300 });
    await app.close();
  });
});

describe("the module", () => {
  test("runs a projection that is made by its class alone, with `this`", within, async () => {
    const seen: number[] = [];
    const type = `Seen-${newEventId()}`;
    @Injectable()
    @Projector({ model: "model" })
    class Seen {
      readonly name = type;
      readonly version = 1;
      readonly setup = setup;
      readonly when = { [type]: this.see };
      see({ data }: { data?: unknown }): void {
        this.list.push(data as number);
      }
      readonly list = seen;
    }
    const context = await contextOf(Seen, { provide: "model", useValue: memoryReadModel({}) });
    const client = context.get<AnnalsClient<any>>(annalsClient);
    const { lastPosition } = await client.append(
      "s",
      [1, 2, 3].map((data) => ({ type, data })),
    );
    await context.get(AnnalsRuntime).waitFor(lastPosition, 60_000);
    assert.deepEqual(seen, [1, 2, 3]);
    assert.throws(() => context.get(AnnalsRuntime).projection("other"), /no projection other/);
    await context.close();
  });

  test(
    "refuses two projections of one name, and a read model that is not there",
    within,
    async () => {
      const projector = (model: string) => {
        @Projector({ model })
        class Twice {
          readonly name = "twice";
          readonly version = 1;
          readonly setup = setup;
          readonly when = {};
          readonly query = { types: ["X"] };
        }
        return Twice;
      };
      const model = { provide: "model", useValue: memoryReadModel({}) };
      await assert.rejects(contextOf(projector("model"), projector("model"), model), /name twice/);
      await assert.rejects(contextOf(projector("nowhere")), /nowhere/);
    },
  );

  test(
    "waits for a server where it is told to, and fails the start without one",
    within,
    async () => {
      @Module({ imports: [AnnalsModule.forRoot({ address, waitForServerMs: 60_000 })] })
      class Served {}
      await (await NestFactory.createApplicationContext(Served, quiet)).close();
      const nobody = { address: "127.0.0.1:1", waitForServerMs: 200 };
      @Module({ imports: [AnnalsModule.forRoot(nobody)] })
      class Alone {}
      await assert.rejects(
        NestFactory.createApplicationContext(Alone, quiet),
        /no server at 127.0.0.1:1/,
      );
    },
  );

  test(
    "is down where no server answers, and where a projection is far behind",
    within,
    async () => {
      @Module({ imports: [AnnalsModule.forRoot({ address: "127.0.0.1:1" })] })
      class Alone {}
      const alone = await NestFactory.createApplicationContext(Alone, quiet);
      const { annals } = await alone
        .get(AnnalsHealthIndicator)
        .isHealthy("annals", { timeoutMs: 200 });
      assert.equal(annals.status, "down");
      assert.match(annals.message ?? "", /does not answer/);
      await alone.close();
    },
  );
});
