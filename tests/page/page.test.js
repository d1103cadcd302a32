// The page as its users meet it, in headless Chromium. `SHADETELL` names the command to test; `SCREENSHOTS`, if set, the folder
// for pictures.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { chromium } from "playwright-core";

const root = new URL("../../", import.meta.url);
const photo = (name) => new URL(`photos/${name}`, root).pathname;
const axe = await readFile(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

let server;
let address;
let browser;
let context;
let page;
/** Everything that the page asks for. */
let requests;
let complaints;

async function start(...args) {
  const process_ = spawn(process.env.SHADETELL, ["serve", "--listen", "127.0.0.1:0", ...args], { stdio: ["ignore", "inherit", "pipe"] });
  const lines = createInterface({ input: process_.stderr });
  const url = await new Promise((resolve, reject) => {
    lines.on("line", (line) => line.startsWith("listening on ") && resolve(line.slice(13).replace(/\/$/, "")));
    process_.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  while (!(await fetch(`${url}/readyz`)).ok) await new Promise((resolve) => setTimeout(resolve, 50));
  return [process_, url];
}

before(async () => {
  [server, address] = await start();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
  });
});
after(async () => {
  await browser?.close();
  server?.kill();
});

beforeEach(async () => {
  requests = [];
  complaints = [];
  context = await browser.newContext({ permissions: ["camera", "clipboard-read", "clipboard-write"], viewport: { width: 1100, height: 900 } });
  page = await context.newPage();
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(address);
});
afterEach(async () => {
  const foreign = requests.filter((url) => !url.startsWith(address) && !url.startsWith("blob:") && !url.startsWith("data:"));
  await context.close();
  assert.deepEqual(foreign, [], "the page asks nobody but its server");
  assert.deepEqual(complaints, []);
});

const captions = () => page.locator(".photo .caption:not(.waiting)");
const shot = (name) => process.env.SCREENSHOTS && page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true });

/** Serious violations that axe finds, in a word each. */
async function violations() {
  // A content security policy keeps scripts of others out of the page; this one comes in through the debugger.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

async function choose(...names) {
  const file = async (name) => (typeof name === "string" ? { name, mimeType: "image/jpeg", buffer: await readFile(photo(name)) } : name);
  await page.setInputFiles("#files", await Promise.all(names.map(file)));
}

test("a chosen photo gets the sentence that the API gives, alternatives and timings", async () => {
  await choose("camera.jpg");
  await captions().waitFor();
  const answer = await fetch(`${address}/v1/caption`, { method: "POST", body: await readFile(photo("camera.jpg")), headers: { "Content-Type": "image/jpeg" } });
  const expected = await answer.json();
  assert.equal(await captions().textContent(), expected.caption);
  assert.equal(await page.getAttribute(".photo img", "alt"), expected.caption);
  await page.click(".photo summary");
  const rows = await page.locator(".photo tbody tr td:first-child").allTextContents();
  assert.deepEqual(rows, [expected.caption, ...expected.alternatives.map(({ caption }) => caption)]);
  assert.match(await page.textContent(".photo tbody td:last-child"), /^\d+\.\d %$/);
  assert.match(await page.textContent(".photo .timings"), /^Decode \d+ ms, preprocess \d+ ms, encode \d+ ms, generate \d+ ms; /);
  await page.click("text=Copy alt text");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `<img src="camera.jpg" alt="${expected.caption}">`);
  await page.click("text=Copy JSON");
  assert.equal(JSON.parse(await page.evaluate(() => navigator.clipboard.readText())).path, "camera.jpg");
});

test("pointing at a word lights the photo, by mouse and by keyboard", async () => {
  await choose("astronaut.jpg");
  await captions().waitFor();
  const words = page.locator(".photo .words button");
  assert.equal((await words.allTextContents()).join(" "), await captions().textContent());
  /** Opacity of the darkness over the middle of each cell of a 4 by 4 grid. */
  const shade = () => page.evaluate(() => {
    const canvas = document.querySelector(".photo canvas");
    const context = canvas.getContext("2d");
    return [...Array(16).keys()].map((i) => context.getImageData(((i % 4) + 0.5) * canvas.width / 4, (Math.floor(i / 4) + 0.5) * canvas.height / 4, 1, 1).data[3]);
  });
  const lit = (values) => Math.max(...values) - Math.min(...values) > 40;
  await words.nth(1).hover();
  const second = await shade();
  assert.ok(lit(second), `${second}`);
  await shot("attention");
  await words.nth(4).hover();
  assert.notDeepEqual(await shade(), second);
  await page.mouse.move(0, 0);
  assert.deepEqual(new Set(await shade()), new Set([0]));
  await words.nth(1).focus();
  assert.deepEqual(await shade(), second, "the keyboard does the same");
  await page.keyboard.press("Enter");
  await page.locator("#choose").focus();
  assert.deepEqual(await shade(), second, "a chosen word stays");
});

test("many photos fill a gallery, and one that is none is told beside it", async () => {
  const broken = { name: "broken.jpg", mimeType: "image/jpeg", buffer: (await readFile(photo("camera.jpg"))).subarray(0, 3000) };
  const text = { name: "=notes.png", mimeType: "image/png", buffer: Buffer.from("not a picture") };
  complaints = { push: () => {} }; // Chromium reports answers of 4xx on its console.
  await choose("camera.jpg", broken, "astronaut.jpg", text, "camera.jpg");
  await page.getByText("5 of 5 captioned, 2 of them without success").waitFor();
  assert.deepEqual(await page.locator(".photo .name").allTextContents(), ["camera.jpg", "broken.jpg", "astronaut.jpg", "=notes.png", "camera.jpg"]);
  const errors = await page.locator(".photo .error:not([hidden])").allTextContents();
  assert.equal(errors.length, 2);
  assert.match(errors[0], /expected a whole JPEG picture/);
  assert.match(errors[1], /expected a photo .* found text/);
  assert.deepEqual(await violations(), []);
  await shot("gallery");

  const download = async (id) => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(id)]);
    return readFile(await file.path(), "utf8");
  };
  const rows = (await download("#save-csv")).split("\r\n");
  assert.equal(rows[0], '"path","caption","probability","error"');
  assert.match(rows[1], /^"camera\.jpg","a [a-z ]+","0\.\d+",""$/);
  assert.match(rows[4], /^"'=notes\.png","","","expected a photo/);
  const records = (await download("#save-jsonl")).trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(records.map(({ path }) => path), ["camera.jpg", "broken.jpg", "astronaut.jpg", "=notes.png", "camera.jpg"]);
  assert.equal(records[1].error.code, "corrupt");
  await page.click("#clear");
  assert.equal(await page.locator(".photo").count(), 0);
  complaints = [];
});

test("photos are pasted and dropped", async () => {
  const bytes = [...(await readFile(photo("camera.jpg")))];
  await page.evaluate((bytes) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
  }, bytes);
  await page.getByText("2 of 2 captioned").waitFor();
  const sentences = await captions().allTextContents();
  assert.equal(sentences[0], sentences[1]);
});

test("decoder and beam are chosen", async () => {
  assert.equal(await page.inputValue("#beam"), "3");
  await page.selectOption("#decoder", "show-tell");
  await page.fill("#beam", "1");
  await choose("camera.jpg");
  await captions().waitFor();
  assert.ok(await page.locator(".photo .words").isHidden(), "show-tell does not attend");
  await page.click(".photo summary");
  assert.equal(await page.locator(".photo tbody tr").count(), 1, "a greedy search has no alternatives");
});

test("the camera is captioned live, and a picture of it is kept", async () => {
  await page.click("#camera-open");
  await page.waitForFunction(() => document.getElementById("camera-caption").textContent.startsWith("a "));
  assert.deepEqual(await violations(), []);
  await page.click("#camera-keep");
  await captions().waitFor();
  assert.match(await page.textContent(".photo .name"), /^camera-.*\.jpg$/);
  await page.click("#camera-close");
  assert.ok(await page.locator("#camera").isHidden());
});

test("a phone's width, light and dark", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  await choose("camera.jpg", "astronaut.jpg");
  await page.getByText("2 of 2 captioned").waitFor();
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} pixels wide`);
    assert.deepEqual(await violations(), [], colorScheme);
    await shot(`phone-${colorScheme}`);
  }
});

test("without a mouse", async () => {
  const [chooser] = await Promise.all([
    page.waitForEvent("filechooser"),
    (async () => {
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate(() => document.activeElement.id), "choose");
      await page.keyboard.press("Enter");
    })(),
  ]);
  await chooser.setFiles(photo("camera.jpg"));
  await captions().waitFor();
  assert.equal(await page.getAttribute(".photo .caption", "aria-live"), "polite");
});

test("a server with a token asks for it", async () => {
  complaints = { push: () => {} };
  const [guarded, url] = await start("--token", "secret");
  try {
    await page.goto(url);
    requests = [];
    await choose("camera.jpg");
    await page.locator(".photo .error:not([hidden])").waitFor();
    await page.fill("#token", "secret");
    await page.locator("#token").blur();
    await captions().waitFor();
  } finally {
    guarded.kill();
  }
  requests = [];
  complaints = [];
});

test("the API is documented on a page", async () => {
  await page.goto(`${address}/docs`);
  await page.getByRole("heading", { name: "POST /v1/caption" }).waitFor();
  assert.ok((await page.locator("#schemas h3").allTextContents()).includes("Problem"));
  assert.deepEqual(await violations(), []);
  await shot("docs");
});
