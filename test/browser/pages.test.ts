// Each page of the console against a real server, in Chromium: that it shows what is there, that
// axe-core finds nothing against its accessibility, in light and dark and on a phone, and pictures.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/client/connect.ts";
import { startLiveServer, type LiveServer } from "../clients/live-server.ts";
import {
  launchBrowser,
  makesDocs,
  missingBrowser,
  openTab,
  takePicture,
  type Tab,
} from "./browser.ts";
import { placeOrder, tellStory } from "./story.ts";

const missing = await missingBrowser();
const axePath = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** The address of each page, a text that it shows, and the name of its picture. */
const pages = [
  ["", "Newest events", "console"],
  ["#/events", "live", "console-events"],
  ["#/streams", "order-1001", "streams"],
  ["#/streams/order-1002", "OrderPlaced", "stream"],
  ["#/streams/user-1?at=7", "UserMoved", "stream-at"],
  ["#/streams/user-1/state?at=8&with=6", "Ljubljana", "console-state"],
  ["#/streams/user-1/snapshots", "Default kind", "snapshots"],
  ["#/streams/user-1/policy", "the newest 6", "policy"],
  ["#/events/30", "Event 30", "event"],
  ["#/types", "PaymentReceived", "types"],
  ["#/groups", "invoices", "groups"],
  ["#/groups/mails", "SMTP 550", "group"],
  ["#/checkpoints", "search-index", "checkpoints"],
  ["#/lifecycles", "$StreamDeleted", "lifecycles"],
  ["#/server", "Commit, median", "server"],
  ["#/nowhere", "There is no such page", "nowhere"],
  ["#/streams/nobody", "There is no such stream", "no-stream"],
] as const;

const looks = [
  { name: "", options: {} },
  { name: "-dark", options: { colorScheme: "dark" as const } },
  { name: "-phone", options: { viewport: { width: 390, height: 844 }, hasTouch: true } },
];

/**
 * `rowsShown(since)`: the milliseconds from then until 100 events are painted. The first frame after
 * they are in the document paints them, and the next one begins when that is done.
 */
const rowsShown = `globalThis.rowsShown = (since) => new Promise((resolve) => {
  const look = () => document.querySelectorAll(".event").length < 100
    ? requestAnimationFrame(look)
    : requestAnimationFrame(() => resolve(performance.now() - since));
  requestAnimationFrame(look);
})`;
const clickEvents = `(() => {
  const shown = rowsShown(performance.now());
  document.querySelector('nav a[href="#/events"]').click();
  return shown;
})()`;

interface Violation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** What axe-core says against the page, as lines. */
async function axeFindings({ page }: Tab): Promise<string[]> {
  const violations = (await page.evaluate(
    "axe.run(document, { resultTypes: ['violations'] }).then((result) => result.violations)",
  )) as readonly Violation[];
  return violations.map(({ id, help, nodes }) => {
    return `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`;
  });
}

/** Appends for a while, now more and now less, so that the picture of the chart shows something. */
async function fillChart(address: string): Promise<void> {
  const client = connect({ address });
  for (let second = 0; second < 70; second += 1) {
    const count = Math.round(6 + 4 * Math.sin(second / 6) + (second % 5));
    const from = 10_000 + second * 100;
    for (let number = 0; number < count; number += 1) await placeOrder(client, from + number);
    await delay(1_000);
  }
  client.close();
}

describe.skipIf(missing !== undefined)("the pages of the console", () => {
  let server: LiveServer;
  let browser: Browser;

  beforeAll(async () => {
    server = await startLiveServer();
    browser = await launchBrowser();
    await tellStory(server.address, 60);
  });

  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  });

  test.each(looks)("are shown and accessible$name", async ({ name, options }) => {
    const tab = await openTab(browser, server.address, options);
    await tab.page.addInitScript({ path: axePath });
    for (const [hash, text, picture] of pages) {
      await tab.go(hash);
      await tab.page.getByRole("main").getByText(text).first().waitFor();
      // The page does not move sideways.
      const overflow =
        "document.documentElement.scrollWidth - document.documentElement.clientWidth";
      expect.soft(await tab.page.evaluate(overflow), `${hash} is too wide`).toBe(0);
      expect.soft(await axeFindings(tab), hash).toEqual([]);
      if (makesDocs && hash === "" && name === "") await fillChart(server.address);
      await takePicture(tab.page, `${picture}${name}`);
    }
    expect(tab.complaints).toEqual([]);
    await tab.page.context().close();
  });

  test("a page of 100 events is shown soon, by one read and few elements", async () => {
    const tab = await openTab(browser, server.address);
    const asked: string[] = [];
    tab.page.on("request", (request) => {
      if (request.method() === "POST") asked.push(request.url().replace(/^.*\//, ""));
    });
    await tab.page.addInitScript(rowsShown);
    const clicked: number[] = [];
    for (let round = 0; round < 7; round += 1) {
      await tab.go("#/checkpoints");
      await tab.page.getByText("search-index").waitFor();
      asked.length = 0;
      clicked.push(await tab.page.evaluate(clickEvents));
      await tab.page.locator(".badge.live").waitFor();
      const reads = asked.filter((name) => name !== "GetInfo");
      expect(reads).toEqual(["Read", "Subscribe"]);
    }
    const elements = "document.querySelectorAll('.events *').length";
    expect(await tab.page.evaluate(elements)).toBeLessThanOrEqual(100 * 14);
    await tab.page.context().close();
    const linked: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      // A browser that was never here.
      const cold = await openTab(browser, server.address);
      await cold.page.addInitScript(rowsShown);
      await cold.page.addInitScript("globalThis.whenShown = rowsShown(0)");
      await cold.go("#/events");
      linked.push(await cold.page.evaluate("whenShown"));
      await cold.page.context().close();
    }
    const texts = [clicked, linked].map((times) => times.map((ms) => ms.toFixed(0)).join(", "));
    console.log(
      `100 events were painted within ${texts[0]} ms of the click on Events (the first: in a new tab),`,
    );
    console.log(
      `and within ${texts[1]} ms of following a link, with nothing in the browser's cache`,
    );
  });

  test("keys lead through it", async () => {
    const { page, go, complaints } = await openTab(browser, server.address);
    await go("#/events");
    await page.locator(".event").first().waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.locator(".event").nth(1).getByText("Copy link").waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("s");
    await page.getByRole("heading", { name: "Streams" }).waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("order-1004");
    await page.getByRole("link", { name: "order-1004" }).waitFor();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "order-1004" }).waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("s");
    await page.evaluate('location.hash = "#/streams?prefix=ledger"');
    await page.getByRole("main").getByText("ledger-1").waitFor();
    await page.getByRole("main").getByText("order-1001").waitFor({ state: "detached" });
    await page.keyboard.press("?");
    await page.getByRole("heading", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("an event is found by its position and by its id, of any form", async () => {
    const client = connect({ address: server.address });
    const chosen = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    const made = await client.append("chosen-1", { type: "Chosen", id: chosen, data: {} });
    client.close();
    const { page, go } = await openTab(browser, server.address);
    await go("#/events/40");
    const id = await page.locator(".detail-facts code").first().innerText();
    const search = page.getByRole("searchbox", { name: "Find a stream" });
    for (const [text, heading] of [
      ["41", "Event 41"],
      [id, "Event 40"],
      [chosen.toUpperCase(), `Event ${made.lastPosition}`],
    ] as const) {
      await search.fill(text);
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: heading }).waitFor();
      expect(page.url()).toContain("#/events/");
    }
    await search.fill(chosen.replace("3301", "3302"));
    await page.keyboard.press("Enter");
    await page.getByText("No event has this id").waitFor();
    await page.context().close();
  });

  test("what is copied for curl is a command that answers with what the page shows", async () => {
    const { page, go } = await openTab(browser, server.address);
    const copied = async (hash: string): Promise<string> => {
      await go(hash);
      await page.getByText("Copy as…").first().click();
      await page.getByRole("button", { name: "curl", exact: true }).first().click();
      const command = await page.locator(".snippet-box pre").first().innerText();
      return execFileSync("sh", ["-c", command], { encoding: "utf8" });
    };
    expect(JSON.parse(await copied("#/events/40"))).toMatchObject({ event: { position: "40" } });
    const events = JSON.parse(await copied("#/streams/order-1004")) as { stream: string }[];
    expect(events.length).toBeGreaterThan(1);
    expect(events.every(({ stream }) => stream === "order-1004")).toBe(true);
    const typed = JSON.parse(await copied("#/events?type=OrderPlaced")) as { type: string }[];
    expect(new Set(typed.map(({ type }) => type))).toEqual(new Set(["OrderPlaced"]));
    await page.context().close();
  });

  test("parked events are replayed and discarded, after a question", async () => {
    const { page, go, complaints } = await openTab(browser, server.address);
    await go("#/groups/mails");
    await page.getByLabel("Choose the event").first().check();
    await page.getByRole("button", { name: "Replay 1" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Replay" }).click();
    await page.getByRole("button", { name: "Discard all 2" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Discard" }).click();
    await page.getByText("Nothing is parked").waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});
