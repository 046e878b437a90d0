// What the console shows where not everything works: a server that is away, a slow network, a caller
// who may not.
import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/client/connect.ts";
import { startLiveServer, type LiveServer } from "../clients/live-server.ts";
import { accessFolder, type AccessFolder } from "../support/access.ts";
import { launchBrowser, missingBrowser, openTab, takePicture } from "./browser.ts";
import { placeOrder } from "./story.ts";

const missing = await missingBrowser();

describe.skipIf(missing !== undefined)("where access is controlled", () => {
  let access: AccessFolder;
  let server: LiveServer;
  let browser: Browser;
  let admin = "";

  beforeAll(async () => {
    access = accessFolder();
    admin = await access.token("ada", ["admin"]);
    server = await startLiveServer("TCP", access.flags);
    browser = await launchBrowser();
    const client = connect({ address: server.address, token: admin });
    for (let number = 1; number <= 3; number += 1) await placeOrder(client, number);
    client.close();
  });

  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    access?.remove();
  });

  test("the page is for everybody, and data for who shows a token", async () => {
    const { page, go, complaints } = await openTab(browser, server.address);
    await go("#/streams");
    await page.getByRole("heading", { name: "This server asks who calls" }).waitFor();
    expect(await page.locator("body").innerText()).not.toContain("order-");
    await takePicture(page, "sign-in");
    await page.getByLabel("Token").fill("annals_wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("The token was refused").waitFor();
    await page.getByLabel("Token").fill(admin);
    await page.keyboard.press("Enter");
    await page.getByText("order-1001").waitFor();
    // The token is in this tab alone: in no address, and in nothing that stays.
    expect(page.url()).not.toContain(admin);
    expect(await page.evaluate("JSON.stringify(localStorage) + document.cookie")).not.toContain(
      admin,
    );
    await page.reload();
    await page.getByText("order-1001").waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "This server asks who calls" }).waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("what is not permitted is said with the permission that it needs", async () => {
    const limited = await access.token("olga", ["observer"]);
    const { page, go, complaints } = await openTab(browser, server.address);
    await go("#/types");
    await page.getByLabel("Token").fill(limited);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "You may not see this" }).first().waitFor();
    await page.getByText("It needs the permission").first().waitFor();
    await takePicture(page, "denied");
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});

describe.skipIf(missing !== undefined)("where the server is slow or away", () => {
  let server: LiveServer;
  let browser: Browser;

  beforeAll(async () => {
    server = await startLiveServer();
    browser = await launchBrowser();
    const client = connect({ address: server.address });
    await client.ready(10_000);
    for (let number = 1; number <= 3; number += 1) await placeOrder(client, number);
    client.close();
  });

  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  });

  test("a slow network shows that something is waited for", async () => {
    const { page, go, complaints } = await openTab(browser, server.address);
    await go("#/checkpoints");
    await page.getByText("No checkpoints").waitFor();
    const session = await page.context().newCDPSession(page);
    await session.send("Network.emulateNetworkConditions", {
      offline: false,
      latency: 800,
      downloadThroughput: 20_000,
      uploadThroughput: 20_000,
    });
    await page.evaluate('location.hash = "#/streams"');
    await page.locator(".skeleton").first().waitFor();
    await page.getByText("order-1001").waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("a server that is away is said, and its return is noticed", async () => {
    const { page, go } = await openTab(browser, server.address);
    await go("#/streams");
    await page.getByText("order-1001").waitFor();
    await page.context().setOffline(true);
    await page.getByText("not reachable").waitFor();
    await page.evaluate('location.hash = "#/types"');
    await page.getByRole("heading", { name: "The server does not answer" }).first().waitFor();
    await page.context().setOffline(false);
    await page.getByRole("button", { name: "Try again" }).first().click();
    await page.getByText("OrderPlaced").first().waitFor();
    await expect.poll(() => page.getByText("not reachable").count(), { timeout: 60_000 }).toBe(0);
    await page.context().close();
  });

  test("the script that is served is the one of the sources, below its bound", async () => {
    const built = readFileSync("src/console/files.js", "utf8");
    expect(built.length).toBeLessThan(310_000);
    const response = await fetch(`http://${server.address}/console/app.js`);
    const text = await response.text();
    expect(built).toContain(JSON.stringify(text).slice(1, 200));
  });
});
