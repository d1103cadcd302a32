// Captions as text, JSON and CSV.

/** An img element with the caption as its alternative text. */
export function altText(name, caption) {
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
  return `<img src="${escaped(name)}" alt="${escaped(caption)}">`;
}

/** One line of JSON per photo, as printed by `shadetell caption --json`. */
export function jsonLines(photos) {
  return photos.map((photo) => `${JSON.stringify(photo.record)}\n`).join("");
}

/** Rows of name, caption, probability, confidence and error, as spreadsheets read them (RFC 4180). */
export function csv(photos) {
  const rows = photos.map(({ name, record }) => {
    const probability = record.caption === undefined ? "" : Math.exp(record.log_prob).toPrecision(4);
    const confidence = record.confidence?.toPrecision(4) ?? "";
    return [name, record.caption ?? "", probability, confidence, record.error?.message ?? ""];
  });
  // A cell that begins like a formula is marked as text.
  const cell = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  return [["path", "caption", "probability", "confidence", "error"], ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** Lets the browser save a text. */
export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Copies a text; without permission for the clipboard, by selecting it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    focused.focus();
  }
}
