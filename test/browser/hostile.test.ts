// Events that somebody wrote to trick the page, its reader, or its numbers.
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../../src/client/connect.ts";
import { startLiveServer, type LiveServer } from "../clients/live-server.ts";
import { launchBrowser, missingBrowser, openTab, takePicture } from "./browser.ts";
import { appendRaw, exactJson, hostile, jsonType, tellStory } from "./story.ts";

const missing = await missingBrowser();

describe.skipIf(missing !== undefined)("what others wrote", () => {
  let server: LiveServer;
  let browser: Browser;

  beforeAll(async () => {
    server = await startLiveServer();
    browser = await launchBrowser();
    await tellStory(server.address);
  });

  afterAll(async () => {
    await browser?.close();
    await server?.stop();
  });

  test("is text and never markup, and hides nothing", async () => {
    const { page, go, complaints } = await openTab(browser, server.address);
    const stream = `#/streams/${encodeURIComponent(hostile.stream)}`;
    const events = `#/events?type=${encodeURIComponent(hostile.type)}`;
    for (const hash of [events, "#/streams", "#/types", stream, `${stream}/state`]) {
      await go(hash);
      await page.getByRole("main").locator(".hidden-character").first().waitFor();
      const made = page.getByRole("main").locator("img, script, svg[onload], b:has(> bdi:empty)");
      expect(await made.count(), hash).toBe(0);
    }
    await go(stream);
    await page.locator(".event-head").click();
    const body = page.locator(".event-body");
    await body.getByText("U+202E").first().waitFor();
    const shown = await body.innerText();
    expect(shown).toContain("<svg onload=alert(1)>");
    expect(shown).toContain("<b>key");
    expect(shown).toContain("U+200B");
    expect(shown).not.toMatch(/[\u202e\u200b\u2066]/);
    expect(await page.locator("h1").innerText()).toContain("<img src=x onerror=alert(1)>");
    await takePicture(page, "hostile");
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("keeps every digit", async () => {
    const { page, go } = await openTab(browser, server.address);
    await go("#/streams/ledger-1?at=1");
    const tree = page.locator(".event-body .json");
    await tree.waitFor();
    expect(await tree.innerText()).toContain("12345678901234567890.10");
    expect(await tree.innerText()).toContain("9007199254740993");
    await page.getByRole("button", { name: "As sent" }).click();
    expect(await page.locator(".payload-text").innerText()).toBe(exactJson);
    await go("#/streams/ledger-1/state");
    await page.getByText("12345678901234567890.10").waitFor();
    await page.context().close();
  });

  test("is shown in hexadecimal where it is bytes", async () => {
    const { page, go } = await openTab(browser, server.address);
    await go("#/streams/photo-1?at=1");
    await page.getByText("00000000  00 01 02 03").waitFor();
    expect(await page.locator(".hex").innerText()).toContain("ABCDEFGHIJKLMNO");
    await page.context().close();
  });

  test("may be a megabyte long, and the page stays at hand", async () => {
    const { page, go, complaints } = await openTab(browser, server.address);
    await go("#/streams/archive-1?at=1");
    await page.locator(".event-body .json").waitFor();
    await page.getByRole("button", { name: /^items: 20,000 items/ }).click();
    await page.getByText("item 99 of a long list").waitFor();
    await page.getByRole("button", { name: "19,900 more" }).click();
    await page.getByText("item 199 of a long list").waitFor();
    await page.getByRole("button", { name: "As sent" }).click();
    await page.getByRole("button", { name: /more characters/ }).click();
    await page.getByRole("button", { name: "Bytes" }).click();
    await page.getByRole("button", { name: /more bytes/ }).click();
    expect(await page.locator("*").count()).toBeLessThan(5_000);
    expect(complaints).toEqual([]);
    await page.context().close();
  });

  test("does not make a page of large events larger than its bound", async () => {
    const client = connect({ address: server.address });
    const payload = `{"blob":"${"y".repeat(1_000_000)}"}`;
    for (let count = 0; count < 12; count += 1) {
      await appendRaw(client, "blobs-1", { type: "Blob", contentType: jsonType, payload });
    }
    client.close();
    const { page, go, complaints } = await openTab(browser, server.address);
    let bytes = 0;
    const network = await page.context().newCDPSession(page);
    network.on("Network.dataReceived", ({ dataLength }) => (bytes += dataLength));
    await network.send("Network.enable");
    await go("#/streams/blobs-1");
    await page.getByText("payload not loaded").first().waitFor();
    expect(await page.locator(".event").count()).toBe(12);
    expect(bytes).toBeGreaterThan(1_000_000);
    expect(bytes).toBeLessThan(12_000_000);
    await page.locator(".event-head").last().click();
    await page.getByText("… 998,000 more characters").waitFor();
    expect(complaints).toEqual([]);
    await page.context().close();
  });
});
