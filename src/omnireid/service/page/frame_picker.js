/** Picking a person from a picture of a whole scene: a box that is drawn by pointer or moved by keys. */

import { button, make } from "./elements.js";

const STEP = 4;
const FAST_STEP = 20;
const LEAST = 20;
const LEAST_SHOWN = 400;
const HANDLE = 8;

/**
 * Ask for a box in a picture.
 * @param {ImageBitmap} image The picture.
 * @param {function} onPick Called with the crop as a PNG blob.
 * @param {function} onCancel Called when nobody was picked.
 */
export function framePicker(image, onPick, onCancel) {
  const box = firstBox(image);
  const canvas = make("canvas", {
    tabIndex: 0,
    role: "application",
    "aria-label": "The picture, with a box around one person",
    "aria-describedby": "picker-help",
  });
  const size = make("output", { "aria-live": "polite", class: "caption" });
  const search = button("Search for this person", pick, { class: "primary" });
  let start = null;

  function show() {
    const room = Math.min(canvas.parentElement.clientWidth / image.width, (innerHeight * 0.6) / image.height);
    const scale = Math.min(room, Math.max(1, LEAST_SHOWN / image.height));
    const density = devicePixelRatio || 1;
    canvas.width = image.width * scale * density;
    canvas.height = image.height * scale * density;
    canvas.style.width = `${image.width * scale}px`;
    canvas.style.height = `${image.height * scale}px`;
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    const zoom = scale * density;
    const [left, top, width, height] = [box.left * zoom, box.top * zoom, box.width * zoom, box.height * zoom];
    pen.fillStyle = "rgba(10, 12, 20, 0.55)";
    pen.beginPath();
    pen.rect(0, 0, canvas.width, canvas.height);
    pen.rect(left, top, width, height);
    pen.fill("evenodd");
    pen.lineWidth = 2 * density;
    pen.strokeStyle = "#fff";
    pen.strokeRect(left, top, width, height);
    pen.fillStyle = "#fff";
    for (const [x, y] of [[left, top], [left + width, top], [left, top + height], [left + width, top + height]]) {
      pen.fillRect(x - (HANDLE * density) / 2, y - (HANDLE * density) / 2, HANDLE * density, HANDLE * density);
    }
  }

  function say() {
    size.textContent = `Box of ${Math.round(box.width)} by ${Math.round(box.height)} pixels, ${Math.round(box.left)} from the left, ${Math.round(box.top)} from the top`;
  }

  function change(values) {
    Object.assign(box, values);
    box.width = Math.min(image.width, Math.max(LEAST, box.width));
    box.height = Math.min(image.height, Math.max(LEAST, box.height));
    box.left = Math.min(image.width - box.width, Math.max(0, box.left));
    box.top = Math.min(image.height - box.height, Math.max(0, box.top));
    show();
  }

  function pointOf(event) {
    const area = canvas.getBoundingClientRect();
    const inside = (value, most) => Math.min(most, Math.max(0, value));
    return {
      x: inside(((event.clientX - area.left) / area.width) * image.width, image.width),
      y: inside(((event.clientY - area.top) / area.height) * image.height, image.height),
    };
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    start = pointOf(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (start === null) return;
    const end = pointOf(event);
    change({
      left: Math.min(start.x, end.x),
      top: Math.min(start.y, end.y),
      width: Math.abs(end.x - start.x),
      height: Math.abs(end.y - start.y),
    });
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      start = null;
      say();
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const step = event.altKey ? FAST_STEP : STEP;
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.key === "Enter") return pick();
    if (x === 0 && y === 0) return undefined;
    event.preventDefault();
    if (event.shiftKey) change({ width: box.width + x * step, height: box.height + y * step });
    else change({ left: box.left + x * step, top: box.top + y * step });
    return say();
  });

  function pick() {
    const crop = make("canvas", {});
    crop.width = Math.round(box.width);
    crop.height = Math.round(box.height);
    crop.getContext("2d").drawImage(image, box.left, box.top, box.width, box.height, 0, 0, crop.width, crop.height);
    crop.toBlob(onPick, "image/png");
  }

  const element = make(
    "section",
    { class: "picker", "aria-label": "Choose a person in the picture" },
    make(
      "p",
      { id: "picker-help" },
      "Draw a box around one person, from head to feet. With the keyboard: arrow keys move the box, Shift and an arrow key change its size, Alt makes bigger steps, Enter searches.",
    ),
    make("div", { class: "canvas" }, canvas),
    size,
    make("div", { class: "actions" }, search, button("Cancel", onCancel)),
  );
  new ResizeObserver(show).observe(element);
  return {
    element,
    /** Put the keyboard on the picture. */
    focus() {
      show();
      say();
      canvas.focus({ preventScroll: true });
      element.scrollIntoView({ block: "nearest" });
    },
  };
}

function firstBox(image) {
  const height = image.height * 0.6;
  const width = Math.min(image.width * 0.6, height / 2.2);
  return { left: (image.width - width) / 2, top: (image.height - height) / 2, width, height };
}
