/** A person: where and when they were seen, who looks like them, and what can be decided. */

import { getJson } from "./api.js";
import { decide } from "./decisions.js";
import { button, fill, icon, make } from "./elements.js";
import { personInput } from "./person_input.js";
import { picture } from "./pictures.js";
import { cardGrid } from "./result_list.js";
import { selectionBar } from "./selection.js";
import { may } from "./session.js";
import { CARD, openSighting, sightingCard } from "./sighting_card.js";
import { timeline } from "./timeline.js";
import { cameraName, counted, period, personAddress } from "./texts.js";

const SIMILAR = 5;
const PAGE = 1000;

export const title = "Person";

export async function show({ argument: name, signal, again }) {
  const found = await getJson(`/v1/people/${encodeURIComponent(name)}`, { similar: SIMILAR, limit: PAGE }, signal);
  const sightings = [...found.sightings];
  const { person } = found;
  const go = (other) => (location.hash === personAddress(other) ? again() : location.replace(personAddress(other)));

  const split = (numbers, clear) =>
    button("Another person: split off", () => {
      clear();
      decide({ kind: "split", sightings: numbers }, `${counted(numbers.length, "sighting")} split off from ${name}.`, again);
    });
  const selection = selectionBar(again, split);
  const grid = cardGrid({
    label: `Sightings of ${name}`,
    ...CARD,
    signal,
    makeCard: (sighting, index) => sightingCard(sighting, () => openSighting(sightings, index, again), may("write") ? selection : null),
  });
  const line = make("div", {});
  const more = make("div", { class: "actions" });

  function showSightings() {
    grid.show(sightings);
    fill(line, timeline(sightings, (chosen) => grid.reveal(sightings.indexOf(chosen[0])), true));
    fill(more, sightings.length < person.sightings && button(`Load more of ${counted(person.sightings, "sighting")}`, loadMore));
  }

  async function loadMore() {
    const after = sightings.at(-1).sighting;
    const page = await getJson("/v1/sightings", { persons: [name], after, limit: PAGE }, signal);
    sightings.push(...page.sightings);
    showSightings();
  }

  const element = make(
    "div",
    { class: "person" },
    make(
      "header",
      {},
      make("a", { href: "#/people", class: "caption" }, "All people"),
      make("h1", { tabIndex: -1 }, name),
      make(
        "p",
        { class: "status" },
        `${counted(person.sightings, "sighting")} by ${person.cameras.map(cameraName).join(", ") || "unknown cameras"}. ${period(person.first, person.last)}.`,
      ),
    ),
    make(
      "div",
      { class: "actions" },
      make("a", { class: "button primary", href: `#/search?person=${encodeURIComponent(name)}` }, icon("search"), "Search with all sightings"),
      may("write") && [renameForm(name, go), mergeForm(name, again)],
      may("erase") && make("a", { class: "button", href: `#/erase?person=${encodeURIComponent(name)}` }, "Erase…"),
    ),
    make("h2", {}, "When and where"),
    line,
    found.similar.length > 0 && [make("h2", {}, "People who look like this"), similarList(found.similar, name, again)],
    make("h2", {}, "Sightings"),
    selection.element,
    grid.element,
    more,
  );
  showSightings();
  return element;
}

function similarList(similar, name, again) {
  return make(
    "ul",
    { class: "similar", role: "list" },
    similar.map((one) =>
      make(
        "li",
        { class: "card" },
        make(
          "a",
          { href: personAddress(one.person), class: "open", "aria-label": `Look at ${one.person}` },
          picture(one.sighting, ""),
        ),
        make(
          "div",
          { class: "facts" },
          make("a", { href: personAddress(one.person), class: "name" }, one.person),
          make("span", { class: "caption" }, `Distance ${one.distance.toFixed(3)}`),
          may("write") && button("Merge", () => merge(name, one.person, again), { "aria-label": `Merge ${one.person} into ${name}` }),
        ),
      ),
    ),
  );
}

function merge(into, other, again) {
  return decide({ kind: "merge", into, people: [other] }, `${other} is merged into ${into}.`, again);
}

function renameForm(name, go) {
  const { input, element } = personInput({ "aria-label": "New name", required: true, value: name });
  return disclosure("Rename", element, "Rename", () => {
    const other = input.value.trim();
    if (other && other !== name) {
      decide({ kind: "rename", person: name, name: other }, `${name} is now ${other}.`, (made) => go(made === null ? name : other));
    }
  });
}

function mergeForm(name, again) {
  const { input, element } = personInput({ "aria-label": "Name of the other person", required: true, placeholder: "Name" });
  return disclosure("Merge with…", element, "They are one person", () => merge(name, input.value.trim(), again));
}

function disclosure(label, content, action, call) {
  const form = make("form", { class: "inline" }, content, make("button", { type: "submit" }, action));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    call();
  });
  return make("details", { class: "menu", name: "person-actions" }, make("summary", { class: "button" }, label), form);
}
