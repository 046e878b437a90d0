// The live list: through a restart of the server, in two tabs, paused, filtered, and where nobody
// looks.
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/client/connect.ts";
import { startLiveServer, type LiveServer } from "../clients/live-server.ts";
import { launchBrowser, missingBrowser, openTab, type Tab } from "./browser.ts";
import { placeOrder, type JsonClient } from "./story.ts";

const missing = await missingBrowser();

/** The versions or positions in the list, in its order. */
async function numbers({ page }: Tab): Promise<string[]> {
  return page.locator(".event-number").allInnerTexts();
}

describe.skipIf(missing !== undefined)("live events", () => {
  let server: LiveServer;
  let browser: Browser;
  let client: JsonClient;

  beforeAll(async () => {
    server = await startLiveServer();
    browser = await launchBrowser();
    client = connect({ address: server.address });
    for (let number = 1; number <= 5; number += 1) await placeOrder(client, number);
  });

  afterAll(async () => {
    client?.close();
    await browser?.close();
    await server?.stop();
  });

  const waitForType = async (tab: Tab, type: string): Promise<void> =>
    tab.page.locator(".event").getByText(type, { exact: true }).first().waitFor();

  test("come to two tabs, and go on behind a restart without a gap or a repeat", async () => {
    const tabs = [await openTab(browser, server.address), await openTab(browser, server.address)];
    for (const tab of tabs) {
      await tab.go("#/events");
      await tab.page.locator(".badge.live").waitFor();
    }
    await client.append("news-1", { type: "BeforeRestart", data: {} });
    for (const tab of tabs) await waitForType(tab, "BeforeRestart");
    await server.restart();
    await client.append("news-1", { type: "AfterRestart", data: {} });
    for (const tab of tabs) {
      await waitForType(tab, "AfterRestart");
      await tab.page.locator(".badge.live").waitFor();
      const listed = (await numbers(tab)).map(Number);
      const [newest = 0] = listed;
      expect(listed).toEqual(Array.from({ length: newest }, (_, index) => newest - index));
      expect(tab.complaints).toEqual([]);
      await tab.page.context().close();
    }
  });

  test("wait while the list is paused", async () => {
    const tab = await openTab(browser, server.address);
    await tab.go("#/events");
    await tab.page.locator(".badge.live").waitFor();
    await tab.page.getByRole("button", { name: "Pause" }).click();
    await client.append("news-1", { type: "WhilePaused", data: {} });
    const resume = tab.page.getByRole("button", { name: "Resume (1 new)" });
    await resume.waitFor();
    expect(await tab.page.locator(".event").getByText("WhilePaused").count()).toBe(0);
    await resume.click();
    await waitForType(tab, "WhilePaused");
    await tab.page.context().close();
  });

  test("are those that the filters select, and the address says which", async () => {
    const tab = await openTab(browser, server.address);
    await tab.go("#/events");
    await tab.page.getByLabel("What to filter by").selectOption("tag");
    await tab.page.getByLabel("Tag", { exact: true }).fill("customer:3");
    await tab.page.getByRole("button", { name: "Add filter" }).click();
    await tab.page.getByText("order-1002").first().waitFor();
    expect(await tab.page.getByText("order-1003").count()).toBe(0);
    expect(tab.page.url()).toContain("#/events?tag=customer%3A3");
    await client.append("news-1", { type: "Elsewhere", data: {} });
    await client.append("news-1", { type: "Selected", data: {}, tags: ["customer:3"] });
    await waitForType(tab, "Selected");
    expect(await tab.page.getByText("Elsewhere").count()).toBe(0);
    await tab.page.reload();
    await waitForType(tab, "Selected");
    await tab.page.getByRole("button", { name: "Remove the filter Tag customer:3" }).click();
    await waitForType(tab, "Elsewhere");
    await tab.page.context().close();
  });

  test("end where the page is hidden, and are there when it is seen again", async () => {
    const tab = await openTab(browser, server.address);
    await tab.go("#/events");
    await tab.page.locator(".badge.live").waitFor();
    const hide = (isHidden: boolean) => `
      Object.defineProperty(document, "hidden", { value: ${isHidden}, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));`;
    await tab.page.evaluate(hide(true));
    const subscribers = async () => (await client.rpc.getInfo({}, {})).subscriberCount;
    await expect.poll(subscribers, { timeout: 60_000 }).toBe(0);
    await client.append("news-1", { type: "Unseen", data: {} });
    await tab.page.evaluate(hide(false));
    await waitForType(tab, "Unseen");
    expect(tab.complaints).toEqual([]);
    await tab.page.context().close();
  });
});
