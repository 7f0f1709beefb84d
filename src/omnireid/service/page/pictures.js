/** Pictures of sightings. They need the token, so they are fetched, a few at a time, the newest request first. */

import { getBlob } from "./api.js";
import { icon, make } from "./elements.js";
import { describeSighting } from "./texts.js";

const AT_ONCE = 6;
const MOST_KEPT = 600;
const kept = new Map();
const waiting = [];
const wanted = new WeakMap();
let loading = 0;

const observer = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      observer.unobserve(entry.target);
      waiting.push({ holder: entry.target, ...wanted.get(entry.target) });
    }
    loadNext();
  },
  { rootMargin: "400px" },
);

/**
 * An element with the picture of a sighting, which is fetched when it comes near the window.
 * @param {object} sighting A sighting as the service answers it.
 * @param {string|null} alternative Text in place of the picture; the sighting's description by default, "" if it stands beside it.
 */
export function picture(sighting, alternative = null) {
  const text = alternative ?? describeSighting(sighting);
  const holder = make("span", { class: "picture" });
  if (sighting.crop === null) {
    holder.append(icon("picture"), make("span", { class: text ? "hidden" : null }, text || "Not shown"));
    return holder;
  }
  const image = make("img", { alt: text, decoding: "async", draggable: "false" });
  holder.append(image);
  const known = kept.get(sighting.crop);
  if (known) image.src = known;
  else {
    wanted.set(holder, { address: sighting.crop, image });
    observer.observe(holder);
  }
  return holder;
}

/** Fetch the picture of a sighting that is likely to be shown next. */
export function fetchAhead(sighting) {
  if (sighting.crop !== null) urlOf(sighting.crop).catch(() => {});
}

/** Forget every picture, as after an erasure or signing out. */
export function forgetPictures() {
  for (const url of kept.values()) URL.revokeObjectURL(url);
  kept.clear();
  waiting.length = 0;
}

function loadNext() {
  while (loading < AT_ONCE && waiting.length) {
    const next = waiting.pop();
    if (next.holder.isConnected) load(next);
  }
}

async function load({ address, image, holder }) {
  loading += 1;
  try {
    image.src = await urlOf(address);
  } catch {
    holder.replaceChildren(icon("picture"), make("span", {}, "No picture"));
  } finally {
    loading -= 1;
    loadNext();
  }
}

async function urlOf(address) {
  let url = kept.get(address);
  if (!url) {
    url = URL.createObjectURL(await getBlob(address));
    kept.set(address, url);
    forgetOldest();
  }
  return url;
}

function forgetOldest() {
  const [oldest] = kept;
  if (kept.size <= MOST_KEPT) return;
  kept.delete(oldest[0]);
  URL.revokeObjectURL(oldest[1]);
}
