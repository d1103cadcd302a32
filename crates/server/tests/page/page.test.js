// Tests of the web page in headless Chromium. `SHADETELL` is the path of the command to test; `SCREENSHOTS`, if set, is the folder
// for screenshots.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { chromium } from "playwright-core";

const root = new URL("../../../../", import.meta.url);
const photo = (name) => new URL(`photos/${name}`, root).pathname;
const axe = await readFile(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

let server;
let address;
let browser;
let context;
let page;
/** All requests of the page, and the servers that it may send them to. */
let requests;
let own;
let complaints;
/** Set by tests in which the server refuses requests: Chromium reports such answers on its console. */
let refusals;

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
  own = [address];
  complaints = [];
  refusals = false;
  context = await browser.newContext({ permissions: ["camera", "clipboard-read", "clipboard-write"], viewport: { width: 1100, height: 900 } });
  page = await context.newPage();
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(address);
});
afterEach(async () => {
  const foreign = requests.filter((url) => ![...own, "blob:", "data:"].some((start) => url.startsWith(start)));
  await context.close();
  assert.deepEqual(foreign, [], "the page sends requests to its own server only");
  assert.deepEqual(complaints.filter((text) => !refusals || !text.startsWith("Failed to load resource")), []);
});

const captions = () => page.locator(".photo .caption:not(.waiting)");
const shot = (name) => process.env.SCREENSHOTS && page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png`, fullPage: true });

/** The ids of serious violations that axe finds. */
async function violations() {
  // The content security policy blocks foreign scripts; this one is injected through the debugger.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

async function choose(...names) {
  const file = async (name) => (typeof name === "string" ? { name, mimeType: "image/jpeg", buffer: await readFile(photo(name)) } : name);
  await page.setInputFiles("#files", await Promise.all(names.map(file)));
}

/** Opacity of the darkness over the middle of each cell of a 4 by 4 grid. */
const shade = () => page.evaluate(() => {
  const canvas = document.querySelector(".photo canvas");
  const context = canvas.getContext("2d");
  return [...Array(16).keys()].map((i) => context.getImageData(((i % 4) + 0.5) * canvas.width / 4, (Math.floor(i / 4) + 0.5) * canvas.height / 4, 1, 1).data[3]);
});

/** Lets `answer` reply to requests for captions, the first of which is number 1. */
async function answerWith(answer) {
  let number = 0;
  await page.route("**/v1/caption?*", (route) => answer(route, ++number));
}
const refuse = (route, status, code, headers = {}) =>
  route.fulfill({ status, headers, contentType: "application/problem+json", body: JSON.stringify({ status, code, detail: `This is ${code}.` }) });
/** Resolves when the page has requested `count` captions. */
async function asked(count) {
  while (captionRequests() < count) await page.waitForEvent("request");
}
const captionRequests = () => requests.filter((url) => url.includes("/v1/caption?")).length;

/** Drops or pastes files, each given by name, type and bytes. */
async function give(how, ...files) {
  await page.evaluate(([how, files]) => {
    const data = new DataTransfer();
    for (const [name, type, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name, { type }));
    if (how === "paste") document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    else document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
  }, [how, files]);
}

test("a chosen photo gets its caption, alternatives and timings from the API", async () => {
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
  assert.match(await page.textContent(".photo .timings"), /^Confidence \d+ %\. Decode \d+ ms, preprocess \d+ ms, encode \d+ ms, generate \d+ ms; /);
  assert.deepEqual(await violations(), [], "with the details open");
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

test("a word has an accessible name, and its attention stays over the picture when the window is resized", async () => {
  await choose("camera.jpg");
  const word = page.getByRole("button", { name: "man: where the model looked" });
  assert.equal(await word.textContent(), "man");
  assert.match(await word.getAttribute("title"), /^Probability \d+ %$/);
  await word.click();
  const boxes = () => page.evaluate(() => ["img", "canvas"].map((name) => {
    const { x, y, width, height } = document.querySelector(`.photo ${name}`).getBoundingClientRect();
    return [x, y, width, height].map(Math.round);
  }));
  const before = await shade();
  const seen = [(await boxes())[0]];
  // The last two show the picture in the same size at another place.
  for (const width of [360, 650, 600]) {
    await page.setViewportSize({ width, height: 800 });
    await page.waitForFunction(() => {
      const [image, canvas] = ["img", "canvas"].map((name) => document.querySelector(`.photo ${name}`).getBoundingClientRect());
      return ["x", "y", "width", "height"].every((side) => Math.abs(image[side] - canvas[side]) < 1);
    });
    const [image, canvas] = await boxes();
    assert.deepEqual(canvas, image);
    const now = await shade();
    assert.ok(now.every((value, i) => Math.abs(value - before[i]) < 15), `${now}, not ${before}`);
    seen.push(image);
  }
  assert.notEqual(seen[1][2], seen[0][2]);
  assert.equal(seen[3][2], seen[2][2]);
  assert.notEqual(seen[3][0], seen[2][0]);
  await page.click("#clear"); // Attention of a removed picture causes no error.
  assert.equal(await page.locator(".photo").count(), 0);
});

test("many photos fill a gallery, and invalid ones show their errors", async () => {
  const broken = { name: "broken.jpg", mimeType: "image/jpeg", buffer: (await readFile(photo("camera.jpg"))).subarray(0, 3000) };
  const text = { name: "=notes.png", mimeType: "image/png", buffer: Buffer.from("not a picture") };
  refusals = true;
  await choose("camera.jpg", broken, "astronaut.jpg", text, "camera.jpg");
  await page.getByText("5 of 5 captioned, 2 of them without success").waitFor();
  assert.deepEqual(await page.locator(".photo .name").allTextContents(), ["camera.jpg", "broken.jpg", "astronaut.jpg", "=notes.png", "camera.jpg"]);
  const errors = await page.locator(".photo .error:not([hidden])").allTextContents();
  assert.equal(errors.length, 2);
  assert.match(errors[0], /expected a whole JPEG picture/);
  assert.match(errors[1], /expected a photo .* found text/);
  assert.deepEqual(await violations(), []);
  assert.equal(await page.locator("#gallery :is([aria-live], [role=alert])").count(), 0, "for many photos only the count is announced");
  await shot("gallery");

  const download = async (id) => {
    const [file] = await Promise.all([page.waitForEvent("download"), page.click(id)]);
    return readFile(await file.path(), "utf8");
  };
  const rows = (await download("#save-csv")).split("\r\n");
  assert.equal(rows[0], '"path","caption","probability","confidence","error"');
  assert.match(rows[1], /^"camera\.jpg","a [a-z ]+","0\.\d+","0\.\d+",""$/);
  assert.match(rows[4], /^"'=notes\.png","","","","expected a photo/);
  const records = (await download("#save-jsonl")).trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(records.map(({ path }) => path), ["camera.jpg", "broken.jpg", "astronaut.jpg", "=notes.png", "camera.jpg"]);
  assert.equal(records[1].error.code, "corrupt");
  await page.click("#clear");
  assert.equal(await page.locator(".photo").count(), 0);
});

test("photos are pasted and dropped", async () => {
  const bytes = [...(await readFile(photo("camera.jpg")))];
  await give("paste", ["pasted.jpg", "image/jpeg", bytes]);
  await give("drop", ["dropped.jpg", "image/jpeg", bytes]);
  await page.getByText("2 of 2 captioned").waitFor();
  const sentences = await captions().allTextContents();
  assert.equal(sentences[0], sentences[1]);
});

test("dropped files that are not pictures are left out with a notice, pasted ones show an error", async () => {
  refusals = true;
  const text = ["notes.txt", "text/plain", [...Buffer.from("not a picture")]];
  await give("drop", text);
  const status = page.getByRole("status");
  assert.ok(await status.isVisible());
  assert.equal(await status.innerText(), "No pictures among the dropped files.");
  assert.deepEqual(await violations(), []);
  assert.equal(await page.locator(".photo").count(), 0);

  await give("drop", text, ["camera.jpg", "image/jpeg", [...(await readFile(photo("camera.jpg")))]]);
  await page.getByText("1 of 1 captioned").waitFor();
  assert.equal(await status.innerText(), "Only pictures are taken: 1 of 2 files left out. 1 of 1 captioned");

  await give("paste", text);
  await page.getByText("2 of 2 captioned, 1 of them without success").waitFor();
  assert.match(await page.getByRole("alert").textContent(), /^No caption: expected a photo .* found text/);
});

test("a refused photo is tried again", async () => {
  refusals = true;
  await answerWith((route, number) => (number === 1 ? refuse(route, 500, "internal") : route.continue()));
  await choose("camera.jpg");
  assert.equal(await page.getByRole("alert").textContent(), "No caption: This is internal.");
  assert.deepEqual(await violations(), []);
  await page.getByRole("button", { name: "Try again" }).press("Enter");
  assert.ok(await page.evaluate(() => document.activeElement.matches(".photo")), "the focus stays with the photo");
  await captions().waitFor();
  assert.match(await captions().textContent(), /^a man /);
  assert.ok(await page.locator(".photo .error").isHidden());
  assert.ok(await page.getByRole("button", { name: "Try again" }).isHidden());
  await page.getByText("1 of 1 captioned").waitFor();
  assert.equal(captionRequests(), 2);
});

test("a request to a busy server is repeated after its Retry-After", async () => {
  refusals = true;
  const times = [];
  await answerWith((route, number) => {
    times.push(performance.now());
    return number === 1 ? refuse(route, 429, "queue_full", { "Retry-After": "1" }) : route.continue();
  });
  await choose("camera.jpg");
  await captions().waitFor();
  assert.match(await captions().textContent(), /^a man /);
  assert.equal(times.length, 2);
  assert.ok(times[1] - times[0] > 900, `${times[1] - times[0]} ms`);
});

test("Clear cancels pending requests, and new photos need not wait for them", async () => {
  refusals = true;
  let answer;
  await answerWith((route) => answer(route));
  let refused = 0;
  let cut = 0;
  page.on("response", (response) => { refused += response.status() === 429; });
  page.on("requestfailed", (request) => { cut += request.url().includes("/v1/caption?"); });
  // First no answer at all, then one that makes the page wait for a minute.
  for (const busy of [() => {}, (route) => refuse(route, 429, "queue_full", { "Retry-After": "60" })]) {
    answer = busy;
    const before = captionRequests();
    // The page sends eight requests at a time; two more photos wait.
    await choose(...Array(10).fill("camera.jpg"));
    await asked(before + 8);
    if (before > 0) while (refused < 8) await page.waitForEvent("response");
    await page.click("#clear");
    assert.equal(await page.getByRole("status").innerText(), "");
    assert.ok(await page.locator("#progress").isHidden());
    answer = (route) => route.continue();
    await choose("astronaut.jpg");
    await captions().waitFor();
    assert.deepEqual(await page.locator(".photo .name").allTextContents(), ["astronaut.jpg"]);
    assert.equal(await page.getByRole("status").innerText(), "1 of 1 captioned");
    assert.equal(captionRequests(), before + 9);
    await page.click("#clear");
  }
  assert.equal(cut, 8, "requests without an answer were cancelled");
});

/** The file of the model with several decoders, joined from its parts, in a folder. */
async function classic(folder) {
  const parts = [1, 2, 3, 4].map((part) => readFile(new URL(`weights/flickr8k/part-${part}/part.bin`, root)));
  const file = join(folder, "flickr8k.safetensors");
  await writeFile(file, Buffer.concat(await Promise.all(parts)));
  return file;
}

test("decoder and beam are chosen", async () => {
  const folder = await mkdtemp(join(tmpdir(), "shadetell-"));
  const [second, url] = await start("--model", await classic(folder));
  own.push(url);
  try {
    await page.goto(url);
    await page.locator("#decoder option[value=show-tell]").waitFor({ state: "attached" });
    assert.equal(await page.inputValue("#beam"), "3");
    const [model] = await (await fetch(`${url}/v1/models`)).json();
    assert.equal(await page.getAttribute("#beam", "max"), String(model.max_beam));
    await page.selectOption("#decoder", "show-tell");
    await page.fill("#beam", "1");
    await choose("camera.jpg");
    await captions().waitFor();
    assert.ok(await page.locator(".photo .words").isHidden(), "show-tell does not attend");
    await page.click(".photo summary");
    assert.equal(await page.locator(".photo tbody tr").count(), 1, "a greedy search has no alternatives");
  } finally {
    second.kill();
    await rm(folder, { recursive: true });
  }
});

test("the camera is captioned live, and a picture of it is kept", async () => {
  await page.click("#camera-open");
  await page.waitForFunction(() => /^(Not sure: )?a /.test(document.getElementById("camera-caption").textContent));
  assert.deepEqual(await violations(), []);
  await page.click("#camera-keep");
  await captions().waitFor();
  assert.match(await page.textContent(".photo .name"), /^camera-.*\.jpg$/);
  await page.click("#camera-close");
  assert.ok(await page.locator("#camera").isHidden());
});

/** Records the camera streams of the page; a promise in `gate`, if set, delays them. */
const watchStreams = () => page.evaluate(() => {
  const devices = navigator.mediaDevices;
  const real = devices.getUserMedia.bind(devices);
  globalThis.streams = [];
  devices.getUserMedia = async (wanted) => {
    const stream = await real(wanted);
    globalThis.streams.push(stream);
    await globalThis.gate;
    return stream;
  };
});
/** The state of each stream's tracks: live or ended. */
const tracks = () => page.evaluate(() => globalThis.streams.map((stream) => stream.getTracks().map(({ readyState }) => readyState).join()));

test("the camera is captioned at its interval until it is closed", async () => {
  await watchStreams();
  refusals = true;
  // A refused picture is not sent again: the next one is sent at the interval. The fourth gets no answer.
  await answerWith((route, number) => {
    if (number === 1) return refuse(route, 429, "queue_full", { "Retry-After": "60" });
    return number < 4 ? route.fulfill({ json: { caption: `picture ${number}` } }) : undefined;
  });
  await page.clock.install();
  const cut = page.waitForEvent("requestfailed");
  await page.click("#camera-open");
  await page.selectOption("#camera-interval", "1000");
  for (const sentence of ["The server is busy.", "picture 2", "picture 3"]) {
    await page.waitForFunction((sentence) => document.getElementById("camera-caption").textContent === sentence, sentence);
  }
  await asked(4);
  await page.click("#camera-open");
  await page.click("#camera-close");
  assert.match((await cut).url(), /v1\/caption/);
  assert.deepEqual(await tracks(), ["ended"], "one stream, which has ended");
  await page.clock.runFor(20_000);
  assert.equal(captionRequests(), 4);
  assert.equal(await page.textContent("#camera-caption"), "picture 3");
  assert.equal(await page.evaluate(() => document.activeElement.id), "camera-open");
});

test("a camera is switched off if it was closed before permission was given", async () => {
  await watchStreams();
  await page.evaluate(() => { globalThis.gate = new Promise((resolve) => { globalThis.allow = resolve; }); });
  await page.click("#camera-open");
  await page.waitForFunction(() => globalThis.streams.length === 1);
  assert.ok(await page.locator("#camera-keep").isDisabled());
  await page.click("#camera-close");
  assert.deepEqual(await tracks(), ["live"]);
  await page.evaluate(() => globalThis.allow());
  await page.waitForFunction(() => globalThis.streams[0].getTracks()[0].readyState === "ended");
  assert.ok(await page.locator("#camera").isHidden());
  assert.equal(captionRequests(), 0);

  await page.click("#camera-open");
  await page.waitForFunction(() => /^(Not sure: )?a /.test(document.getElementById("camera-caption").textContent));
  assert.deepEqual(await tracks(), ["ended", "live"]);
});

test("without a camera the page shows the reason", async () => {
  await page.evaluate(() => {
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("Permission denied", "NotAllowedError"); };
  });
  await page.click("#camera-open");
  await page.getByText("The camera cannot be used: Permission denied").waitFor();
  await page.evaluate(() => Object.defineProperty(navigator, "mediaDevices", { value: undefined }));
  await page.click("#camera-open");
  await page.getByText("A camera needs HTTPS or localhost.").waitFor();
  assert.ok(await page.locator("#camera-keep").isDisabled());
  assert.deepEqual(await violations(), []);
});

test("the page works at a phone's width, in light and dark mode", async () => {
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

test("the page works without a mouse", async () => {
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
  assert.equal(await page.getAttribute(".photo .caption", "aria-live"), "polite", "the caption of a single photo is announced");
  assert.equal(await page.getByRole("status").textContent(), " 1 of 1 captioned");
});

test("the page asks for the token if the server requires one", async () => {
  refusals = true;
  const [guarded, url] = await start("--token", "secret");
  own.push(url);
  try {
    await page.goto(url);
    await choose("camera.jpg");
    await page.locator(".photo .error:not([hidden])").waitFor();
    await page.fill("#token", "secret");
    await page.locator("#token").blur();
    await captions().waitFor();
  } finally {
    guarded.kill();
  }
});

test("the API is documented on a page", async () => {
  await page.goto(`${address}/docs`);
  await page.getByRole("heading", { name: "POST /v1/caption" }).waitFor();
  assert.ok((await page.locator("#schemas h3").allTextContents()).includes("Problem"));
  assert.deepEqual(await violations(), []);
  await shot("docs");
});
