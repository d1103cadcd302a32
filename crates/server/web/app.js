// The page. It sends photos to the server, a few at a time, and shows them with their captions in a gallery.

import { dark, light } from "./attention.js";
import { camera } from "./camera.js";
import { altText, copy, csv, jsonLines, save } from "./export.js";

/** Concurrent requests: the server captions waiting photos in batches. */
const AT_A_TIME = 8;

const element = (id) => document.getElementById(id);
/** All photos, in the order in which they were added. */
let photos = [];
const waiting = [];
let running = 0;
/** Cancels the work on the current photos. */
let stop = new AbortController();
let models = [];

// --- the server

class Refused extends Error {
  constructor(problem, retryAfter) {
    super(problem.detail ?? "the server gave no reason");
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

async function ask(path, request = {}) {
  const token = element("token").value;
  const headers = { ...request.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let answer;
  try {
    answer = await fetch(path, { ...request, headers });
  } catch {
    throw new Refused({ code: "offline", detail: "The server cannot be reached; try again." });
  }
  if (answer.ok) return answer.json();
  if (answer.status === 401) element("token-field").hidden = false;
  const problem = await answer.json().catch(() => ({ code: "unknown", detail: `The server answered ${answer.status}.` }));
  throw new Refused(problem, Number(answer.headers.get("Retry-After")));
}

/** Captions a photo. If the server is busy, waits as long as `Retry-After` says and tries again. */
async function caption(blob, signal, attempts = 20) {
  const query = new URLSearchParams({ attention: "true" });
  for (const id of ["model", "decoder", "beam"]) {
    if (element(id).value) query.set(id, element(id).value);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      const headers = { "Content-Type": "application/octet-stream" };
      return await ask(`v1/caption?${query}`, { method: "POST", headers, body: blob, signal });
    } catch (error) {
      if (!error.retryAfter || attempt === attempts) throw error;
      await pause(1000 * error.retryAfter, signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

// --- the gallery

function add(files) {
  for (const file of files) {
    const photo = { name: file.name, file, item: element("photo").content.firstElementChild.cloneNode(true) };
    const image = photo.item.querySelector("img");
    image.src = URL.createObjectURL(file);
    image.addEventListener("error", () => { image.hidden = true; });
    photo.item.querySelector(".name").textContent = file.name;
    wire(photo);
    if (files.length === 1) announce(photo);
    element("gallery").append(photo.item);
    photos.push(photo);
    enqueue(photo);
  }
}

/** Lets screen readers announce the caption or the error of a photo. If many are added at once, only the count is announced. */
function announce(photo) {
  part(photo, "caption").setAttribute("aria-live", "polite");
  part(photo, "error").setAttribute("role", "alert");
}

function enqueue(photo) {
  notice("");
  photo.record = undefined;
  part(photo, "again").hidden = true;
  part(photo, "error").hidden = true;
  part(photo, "caption").classList.add("waiting");
  part(photo, "caption").textContent = "Looking …";
  waiting.push(photo);
  work();
}

async function work() {
  showProgress();
  if (running === AT_A_TIME || waiting.length === 0) return;
  running++;
  const photo = waiting.shift();
  const { signal } = stop;
  try {
    const record = { ...(await caption(photo.file, signal)), path: photo.name };
    if (!signal.aborted) show(photo, record);
  } catch (error) {
    const code = error.problem?.code ?? "page";
    if (!signal.aborted) fail(photo, { path: photo.name, error: { code, message: error.message } });
  }
  running--;
  work();
}

const part = (photo, name) => photo.item.querySelector(`.${name}`);

function fail(photo, record) {
  photo.record = record;
  part(photo, "caption").textContent = "";
  part(photo, "error").textContent = `No caption: ${record.error.message}`;
  for (const name of ["error", "again"]) part(photo, name).hidden = false;
  showProgress();
}

function show(photo, record) {
  photo.record = record;
  part(photo, "caption").classList.remove("waiting");
  part(photo, "caption").textContent = record.caption;
  photo.item.querySelector("img").alt = record.caption;
  part(photo, "unsure").hidden = record.sure !== false;
  for (const name of ["copy-text", "copy-alt", "copy-json", "more"]) part(photo, name).hidden = false;
  const rows = [record, ...record.alternatives].map(({ caption, log_prob }) => {
    const row = document.createElement("tr");
    for (const text of [caption, `${(100 * Math.exp(log_prob)).toFixed(1)} %`]) {
      row.append(Object.assign(document.createElement("td"), { textContent: text }));
    }
    return row;
  });
  part(photo, "more").querySelector("tbody").replaceChildren(...rows);
  const { decode, preprocess, encode, generate } = record.timings_ms;
  const ms = (time) => `${time.toFixed(0)} ms`;
  const confidence = record.confidence === undefined ? "" : `Confidence ${(100 * record.confidence).toFixed(0)} %. `;
  part(photo, "timings").textContent =
    `${confidence}Decode ${ms(decode)}, preprocess ${ms(preprocess)}, encode ${ms(encode)}, generate ${ms(generate)}; ` +
    `${record.model} on ${record.adapter}`;
  const words = record.attention_grid ? record.tokens.map((token) => word(photo, token, record.attention_grid)) : [];
  part(photo, "words").replaceChildren(...words);
  part(photo, "words").hidden = words.length === 0;
  showProgress();
}

/** A word that lights the photo while the word is pointed at or has the focus, and keeps it lit once the word is chosen. */
function word(photo, token, grid) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: token.word });
  button.title = `Probability ${(100 * Math.exp(token.log_prob)).toFixed(0)} %`;
  button.setAttribute("aria-label", `${token.word}: where the model looked`);
  button.setAttribute("aria-pressed", "false");
  const [canvas, image] = [photo.item.querySelector("canvas"), photo.item.querySelector("img")];
  const on = () => {
    for (const other of button.parentElement.children) other.classList.toggle("lit", other === button);
    light(canvas, image, grid, token.attention);
  };
  const off = () => {
    button.classList.remove("lit");
    const kept = button.parentElement.querySelector("[aria-pressed=true]");
    if (kept && kept !== button) kept.dispatchEvent(new Event("pointerenter"));
    else if (kept !== button) dark(canvas);
  };
  button.addEventListener("pointerenter", on);
  button.addEventListener("focus", on);
  button.addEventListener("pointerleave", off);
  button.addEventListener("blur", off);
  button.addEventListener("click", () => {
    const pressed = button.getAttribute("aria-pressed") !== "true";
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(pressed));
    if (pressed) on();
    else off();
  });
  return button;
}

function wire(photo) {
  const copies = {
    "copy-text": () => photo.record.caption,
    "copy-alt": () => altText(photo.name, photo.record.caption),
    "copy-json": () => JSON.stringify(photo.record, null, 2),
  };
  for (const [name, text] of Object.entries(copies)) {
    part(photo, name).addEventListener("click", async () => {
      await copy(text());
      notice("Copied.");
    });
  }
  part(photo, "again").addEventListener("click", () => {
    announce(photo);
    photo.item.focus(); // The button disappears.
    enqueue(photo);
  });
}

function notice(text) {
  element("notice").textContent = text;
}

/** Shows how many photos are captioned. */
function showProgress() {
  const done = photos.filter((photo) => photo.record).length;
  const failed = photos.filter((photo) => photo.record?.error).length;
  for (const id of ["progress", "actions"]) element(id).hidden = photos.length === 0;
  const without = failed ? `, ${failed} of them without success` : "";
  const count = photos.length > 0 ? `${done} of ${photos.length} captioned${without}` : "";
  // Setting the same text again would make screen readers announce it again.
  if (element("count").textContent !== count) element("count").textContent = count;
  element("progress").max = Math.max(photos.length, 1);
  element("progress").value = done;
}

function clear() {
  stop.abort();
  stop = new AbortController();
  for (const photo of photos) URL.revokeObjectURL(photo.item.querySelector("img").src);
  photos = [];
  waiting.length = 0;
  element("gallery").replaceChildren();
  notice("");
  showProgress();
  element("choose").focus();
}

// --- options

function option(value, text = value) {
  return Object.assign(document.createElement("option"), { value, textContent: text });
}

async function loadModels() {
  try {
    models = await ask("v1/models");
  } catch {
    return; // Captioning still works with the server's defaults, and reports errors.
  }
  element("model").replaceChildren(...models.map(({ name }) => option(name)));
  showDecoders();
}

function showDecoders() {
  const model = models.find(({ name }) => name === element("model").value);
  element("decoder").replaceChildren(...(model?.decoders ?? []).map(({ name }) => option(name)));
  showBeam();
}

function showBeam() {
  const model = models.find(({ name }) => name === element("model").value);
  const decoder = model?.decoders.find(({ name }) => name === element("decoder").value);
  element("beam").value = decoder?.beam ?? "";
  element("beam").max = model?.max_beam ?? "";
}

// --- sources of photos

const pictures = (list) => [...list].filter((file) => file.type.startsWith("image/") || /\.(jpe?g|png|webp|gif|bmp|tiff?)$/i.test(file.name));

/** Adds the pictures among dropped files, since folders have other files too, and reports how many files were left out. */
function drop(files) {
  const found = pictures(files);
  add(found);
  if (found.length === 0) notice("No pictures among the dropped files.");
  else if (found.length < files.length) notice(`Only pictures are taken: ${files.length - found.length} of ${files.length} files left out.`);
}

element("choose").addEventListener("click", () => element("files").click());
element("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
document.addEventListener("paste", (event) => {
  const files = event.clipboardData?.files ?? [];
  if (files.length > 0) {
    event.preventDefault();
    add(files);
  }
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    element("drop").classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    element("drop").classList.remove("over");
    if (kind === "drop") drop(event.dataTransfer.files);
  });
}
element("options").addEventListener("submit", (event) => event.preventDefault());
element("model").addEventListener("change", showDecoders);
element("decoder").addEventListener("change", showBeam);
element("token").addEventListener("change", () => {
  loadModels();
  photos.filter((photo) => photo.record?.error?.code === "unauthorized").forEach(enqueue);
});
element("clear").addEventListener("click", clear);
element("save-csv").addEventListener("click", () => save("captions.csv", "text/csv", csv(photos.filter(({ record }) => record))));
element("save-jsonl").addEventListener("click", () => save("captions.jsonl", "application/jsonl", jsonLines(photos.filter(({ record }) => record))));
// If the server is busy, the next picture is sent instead of the same one again.
camera({ caption: (blob, signal) => caption(blob, signal, 1), keep: (file) => add([file]) });
loadModels();
