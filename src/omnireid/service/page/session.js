/** What every view knows: who asks, what the gallery is, and the names of its people. */

import { getJson, includesRole } from "./api.js";

const MOST_NAMES = 1000;

/** The answer of /v1/gallery; null while nobody is signed in. */
export let gallery = null;

let names = null;
let version = 0;

export async function readGallery() {
  gallery = await getJson("/v1/gallery");
  return gallery;
}

export function endSession() {
  gallery = null;
  names = null;
}

export function may(role) {
  return gallery !== null && includesRole(gallery.role, role);
}

/** A number that grows whenever this page changed who is who, or what is there. */
export function changes() {
  return version;
}

/** Say that people or sightings changed, so that nothing old is shown. */
export async function markChanged() {
  version += 1;
  names = null;
  await readGallery();
}

/** Names of the people seen most often, for suggestions. */
export async function peopleNames() {
  names ??= (await getJson("/v1/people", { limit: MOST_NAMES })).people.map((one) => one.person);
  return names;
}
