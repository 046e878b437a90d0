// The application of the cases: accounts, commands by HTTP, a read model in SQLite.

import "reflect-metadata";
import { DatabaseSync } from "node:sqlite";
import { Body, Controller, Get, Inject, Injectable, Module, Param, Post } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { HealthCheck, HealthCheckService, TerminusModule } from "@nestjs/terminus";
import type { Decider, Projection, RecordedOfType, Repository } from "annals-client";
import { sqliteReadModel } from "annals-client/sqlite";
import {
  AnnalsHealthIndicator,
  AnnalsModule,
  AnnalsRuntime,
  InjectRepository,
  Projector,
  provideRepository,
} from "annals-nestjs";

export type AccountEvent =
  | { readonly type: "Deposited"; readonly data: { readonly amount: number } }
  | { readonly type: "Withdrawn"; readonly data: { readonly amount: number } };
export interface AccountCommand {
  readonly do: "deposit" | "withdraw";
  readonly amount: number;
}

export const account: Decider<number, AccountCommand, AccountEvent> = {
  initial: () => 0,
  decide: ({ do: what, amount }, balance) => {
    if (what === "deposit") return { type: "Deposited", data: { amount } };
    if (amount > balance) throw new Error("there is not so much");
    return { type: "Withdrawn", data: { amount } };
  },
  evolve: (balance, { type, data }) =>
    balance + (type === "Deposited" ? data.amount : -data.amount),
};

export const database = Symbol("database");
const model = Symbol("model");

/** Something that a projection needs. */
@Injectable()
class Rates {
  readonly factor = 100;
}

@Injectable()
@Projector({ model })
export class Balances implements Projection<AccountEvent, DatabaseSync> {
  readonly name: string = "balances";
  readonly version = 1;

  constructor(@Inject(Rates) private readonly rates: Rates) {}

  setup(db: DatabaseSync): void {
    db.exec(
      "DROP TABLE IF EXISTS balance; CREATE TABLE balance (stream TEXT PRIMARY KEY, cents INT)",
    );
  }

  readonly when = {
    Deposited: (event: RecordedOfType<AccountEvent, "Deposited">, db: DatabaseSync) =>
      this.add(db, event.stream, event.data.amount),
    Withdrawn: (event: RecordedOfType<AccountEvent, "Withdrawn">, db: DatabaseSync) =>
      this.add(db, event.stream, -event.data.amount),
  };

  private add(db: DatabaseSync, stream: string, amount: number): void {
    const insert = "INSERT INTO balance VALUES (?, ?) ON CONFLICT DO UPDATE SET cents = cents + ?";
    const cents = amount * this.rates.factor;
    db.prepare(insert).run(stream, cents, cents);
  }
}

@Injectable()
@Projector({ model })
export class Counts implements Projection<AccountEvent, DatabaseSync> {
  readonly name = "counts";
  readonly version = 1;
  readonly setup = (db: DatabaseSync): void => {
    db.exec("DROP TABLE IF EXISTS counts; CREATE TABLE counts (stream TEXT)");
  };
  readonly when = {
    Deposited: ({ stream, data }: RecordedOfType<AccountEvent, "Deposited">, db: DatabaseSync) => {
      if (data.amount === 13) throw new Error("thirteen");
      db.prepare("INSERT INTO counts VALUES (?)").run(stream);
    },
  };
}

@Controller()
class Accounts {
  constructor(
    @InjectRepository("accounts")
    private readonly accounts: Repository<number, AccountCommand, AccountEvent>,
    @Inject(AnnalsRuntime) private readonly runtime: AnnalsRuntime,
    @Inject(database) private readonly db: DatabaseSync,
    @Inject(HealthCheckService) private readonly health: HealthCheckService,
    @Inject(AnnalsHealthIndicator) private readonly annals: AnnalsHealthIndicator,
  ) {}

  @Post("accounts/:id")
  async command(@Param("id") id: string, @Body() command: AccountCommand) {
    const { position, state } = await this.accounts.handle(id, command);
    return { position, balance: state };
  }

  @Get("accounts/:id/:position")
  async balance(@Param("id") id: string, @Param("position") position: string) {
    await this.runtime.projection("balances").waitFor(Number(position), { timeoutMs: 60_000 });
    return this.db.prepare("SELECT cents FROM balance WHERE stream = ?").get(id);
  }

  @Get("health")
  @HealthCheck()
  check() {
    return this.health.check([() => this.annals.isHealthy("annals")]);
  }
}

export async function startApp(
  db = new DatabaseSync(":memory:"),
  address = process.env["ANNALS_ADDRESS"],
) {
  @Module({ providers: [{ provide: "address", useValue: address }], exports: ["address"] })
  class Settings {}

  @Module({
    imports: [
      TerminusModule,
      AnnalsModule.forRootAsync({
        imports: [Settings],
        inject: ["address"],
        useFactory: (where: string) => ({ address: where, timeoutMs: 120_000 }),
      }),
    ],
    controllers: [Accounts],
    providers: [
      { provide: database, useValue: db },
      { provide: model, inject: [database], useFactory: sqliteReadModel },
      provideRepository("accounts", account, { snapshots: { everyEvents: 5, schemaVersion: 1 } }),
      Rates,
      Balances,
      Counts,
    ],
  })
  class App {}

  const app = await NestFactory.create(App, { logger: ["error"], abortOnError: false });
  app.enableShutdownHooks();
  await app.listen(0, "127.0.0.1");
  const url = await app.getUrl();
  const call = async (path: string, body?: unknown) => {
    const headers = { "content-type": "application/json" };
    const sent = body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) };
    const response = await fetch(`${url}/${path}`, sent);
    const text = await response.text();
    return { status: response.status, body: (text === "" ? undefined : JSON.parse(text)) as any };
  };
  return { app, call, runtime: app.get(AnnalsRuntime, { strict: false }) };
}
