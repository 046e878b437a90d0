// Chromium for tests of the console, as Debian packages it. What a page logs as an error, and what it
// throws, fails the test that looked at it.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { missingTool } from "../clients/build-cache.ts";
import { repository } from "../clients/live-server.ts";

const toolchain = {
  name: "chromium",
  needs: [["chromium", "--version"]],
  debianPackages: ["chromium", "fonts-dejavu-core"],
  build: [],
  run: [],
};

/** Why there is no browser here. Undefined: there is one. It is installed where that is allowed. */
export async function missingBrowser(): Promise<string | undefined> {
  const missing = await missingTool(toolchain);
  if (missing !== undefined) {
    console.error(`the console: NOT RUN: ${missing} (Debian: apt-get install chromium)`);
  }
  return missing;
}

export function launchBrowser(): Promise<Browser> {
  // Chromium's sandbox refuses to run as root.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath: "/usr/bin/chromium", args });
}

export interface Tab {
  readonly page: Page;
  /** What the page complained of, apart from answers that a test expects to fail. */
  readonly complaints: string[];
  /** Goes to a page of the console: `#/streams`. */
  readonly go: (hash: string) => Promise<void>;
}

export async function openTab(
  browser: Browser,
  address: string,
  options: BrowserContextOptions = {},
): Promise<Tab> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 860 },
    locale: "en-GB",
    timezoneId: "Europe/Lisbon",
    ...options,
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    const isOfAnswer = message.text().startsWith("Failed to load resource");
    if (message.type() === "error" && !isOfAnswer) complaints.push(message.text());
  });
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const go = async (hash: string): Promise<void> => {
    await page.goto(`http://${address}/${hash}`);
  };
  return { page, complaints, go };
}

/** The documents' pictures are to be made anew. */
export const makesDocs = process.env["SCREENSHOTS"] === "docs";
const namesInDocs = ["console", "console-state"];

/** Pictures are kept in `.tmp/console`, and those of the documents in docs where they are made anew. */
export async function takePicture(page: Page, name: string): Promise<void> {
  const isOfDocs = makesDocs && namesInDocs.includes(name);
  const folder = join(repository, isOfDocs ? "docs" : ".tmp/console");
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" });
}
