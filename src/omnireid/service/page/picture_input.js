/** Getting a picture from a person: dropped, chosen as a file or pasted. */

import { button, icon, make } from "./elements.js";

const TALL = 1.2;
const LARGEST_CROP = 1600;
const SIGNATURES = [
  ["image/jpeg", (bytes) => bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff],
  ["image/png", (bytes) => bytes[0] === 0x89 && bytes[1] === 0x50 && bytes[2] === 0x4e && bytes[3] === 0x47],
  ["image/webp", (bytes) => textOf(bytes.slice(0, 4)) === "RIFF" && textOf(bytes.slice(8, 12)) === "WEBP"],
];

/**
 * A place for a picture.
 * @param {function} onPicture Called with a file.
 */
export function pictureInput(onPicture, signal) {
  const input = make("input", { type: "file", accept: "image/*", class: "hidden", tabIndex: -1, "aria-label": "Picture of a person" });
  input.addEventListener("change", () => {
    if (input.files.length) onPicture(input.files[0]);
    input.value = "";
  });
  const element = make(
    "div",
    { class: "drop" },
    icon("picture"),
    make("p", {}, "Drop a picture here, paste one, or"),
    button("Choose a picture", () => input.click(), { class: "primary" }),
    input,
    make("small", {}, "A crop of one person, or a whole scene to choose from."),
  );
  const isFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => {
      if (!isFile(event) || !element.isConnected) return;
      event.preventDefault();
      element.classList.add("over");
    }, { signal });
  }
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) element.classList.remove("over");
  }, { signal });
  addEventListener("drop", (event) => {
    if (!isFile(event) || !element.isConnected) return;
    event.preventDefault();
    element.classList.remove("over");
    if (event.dataTransfer.files.length) onPicture(event.dataTransfer.files[0]);
  }, { signal });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (file && element.isConnected) onPicture(file);
  }, { signal });
  return element;
}

/**
 * Read a picture, and make of it what the service takes.
 * @param {Blob} file
 * @returns {Promise<{image: ImageBitmap, crop: Blob, isScene: boolean}>} The pixels, a JPEG, PNG or WebP file, and whether it seems to
 * show more than one person: then it is not tall.
 */
export async function readPicture(file) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error("This file is no picture that your browser can read. Use a JPEG, PNG or WebP file.");
  }
  const isScene = image.height < TALL * image.width;
  const start = new Uint8Array(await file.slice(0, 12).arrayBuffer());
  const kind = SIGNATURES.find(([, fits]) => fits(start))?.[0];
  const isSmall = Math.max(image.width, image.height) <= LARGEST_CROP;
  return { image, isScene, crop: kind && isSmall ? new Blob([file], { type: kind }) : await encode(image) };
}

/** The picture as PNG, no larger than a crop needs to be. */
function encode(image) {
  const scale = Math.min(1, LARGEST_CROP / Math.max(image.width, image.height));
  const canvas = make("canvas", {});
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => {
    canvas.toBlob(resolve, "image/png");
  });
}

function textOf(bytes) {
  return String.fromCharCode(...bytes);
}
