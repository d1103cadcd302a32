// Draws attention over a photo.

/** Functions that draw the attention of pictures, by the element that contains the picture. */
const lights = new WeakMap();

// When the element is resized, the picture changes its size or position, so its attention is drawn again.
const changes = new ResizeObserver((boxes) => {
  for (const { target } of boxes) lights.get(target)?.();
});

/**
 * Draws over a picture: dark where the model did not look at this word, clear where it looked most.
 * `grid` has rows, columns and the area of the photo, in its pixels; `weights` lie in it row by row.
 */
export function light(canvas, image, grid, weights) {
  const box = canvas.parentElement;
  if (!lights.has(box)) changes.observe(box);
  lights.set(box, () => draw(canvas, image, grid, weights));
  draw(canvas, image, grid, weights);
}

/** Removes the attention. */
export function dark(canvas) {
  changes.unobserve(canvas.parentElement);
  lights.delete(canvas.parentElement);
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

function draw(canvas, image, grid, weights) {
  place(canvas, image);
  const { rows, columns, area: [left, top, width, height] } = grid;
  const context = canvas.getContext("2d");
  const scale = canvas.width / image.naturalWidth;
  const most = Math.max(...weights);
  const small = document.createElement("canvas");
  small.width = columns;
  small.height = rows;
  const cells = small.getContext("2d").createImageData(columns, rows);
  weights.forEach((weight, i) => {
    const share = most > 0 ? weight / most : 0;
    cells.data.set([255 * share, 150 * share, 30 * share, 255 * (0.75 - 0.45 * share)], 4 * i);
  });
  small.getContext("2d").putImageData(cells, 0, 0);
  context.fillStyle = "rgba(0, 0, 0, 0.75)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const part = [left, top, width, height].map((side) => side * scale);
  context.clearRect(...part);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, ...part);
}

/** Places the canvas over the picture at its current size and position. */
function place(canvas, image) {
  canvas.width = image.clientWidth;
  canvas.height = image.clientHeight;
  canvas.style.left = `${image.offsetLeft}px`;
  canvas.style.top = `${image.offsetTop}px`;
}
