/** The people of the gallery. */

import { getJson } from "./api.js";
import { button, field, fill, make } from "./elements.js";
import { notice } from "./messages.js";
import { picture } from "./pictures.js";
import { cameraName, counted, number, period, personAddress } from "./texts.js";

const PAGE = 200;

export const title = "People";

export async function show({ signal }) {
  const list = make("ul", { class: "people", role: "list" });
  const status = make("p", { class: "status", role: "status" });
  const below = make("div", { class: "actions" });
  const search = make("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  let people = [];
  let total = 0;

  async function more() {
    const page = await getJson("/v1/people", { offset: people.length, limit: PAGE }, signal);
    people = [...people, ...page.people];
    total = page.total;
    narrow();
  }

  function narrow() {
    const text = search.value.trim().toLowerCase();
    const found = people.filter((one) => one.person.toLowerCase().includes(text));
    const all = people.length < total ? `${number(people.length)} of ${counted(total, "person", "people")} are loaded. ` : "";
    status.textContent = `${all}${text ? `${number(found.length)} with “${search.value.trim()}” in the name` : `${counted(total, "person", "people")}, those seen most often first`}`;
    fill(list, found.map(entry));
    fill(below, people.length < total && button("Load more", more));
  }

  search.addEventListener("input", narrow);
  await more();
  const empty = notice("Nobody has a name yet", make("p", {}, "Search with a picture, select sightings of one person and give them a name; or answer the questions of the review."));
  return make(
    "div",
    {},
    make("h1", { tabIndex: -1 }, "People"),
    total === 0 ? empty : [make("div", { class: "toolbar" }, field("Find a name", search), status), list, below],
  );
}

function entry(person) {
  const cameras = person.cameras.map(cameraName).join(", ");
  return make(
    "li",
    {},
    make(
      "a",
      { href: personAddress(person.person) },
      picture({ crop: person.crop ?? null }, ""),
      make(
        "span",
        { class: "facts" },
        make("strong", {}, person.person),
        make("span", {}, counted(person.sightings, "sighting")),
        make("span", { class: "caption" }, cameras),
        make("span", { class: "caption" }, period(person.first, person.last)),
      ),
    ),
  );
}
