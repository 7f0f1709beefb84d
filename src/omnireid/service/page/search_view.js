/** Search: by a crop, a person or a sighting; ranked sightings, a time line, and what can be done with them. */

import { getJson, postForm } from "./api.js";
import { addForm } from "./add_form.js";
import { button, field, fill, make } from "./elements.js";
import { filterFields } from "./filters.js";
import { framePicker } from "./frame_picker.js";
import { announce, announceError, errorText, notice } from "./messages.js";
import { personInput } from "./person_input.js";
import { pictureInput, readPicture } from "./picture_input.js";
import { picture } from "./pictures.js";
import { cardGrid } from "./result_list.js";
import { selectionBar } from "./selection.js";
import { changes, gallery, may } from "./session.js";
import { CARD, openSighting, sightingCard } from "./sighting_card.js";
import { timeline } from "./timeline.js";
import { counted, number, percent, personAddress, VERDICTS } from "./texts.js";

const COUNTS = [20, 100, 1000, 10_000];
const WAIT_MS = 300;

export const title = "Search";
let kept = null;

/** Forget the last search, as when somebody signs out. */
export function forget() {
  kept = null;
}

/** The view. It is kept while the page is open, so that going back finds the results where they were. */
export async function show({ parameters }) {
  if (kept === null || kept.sightingsThen !== gallery.sightings) kept = new Search();
  await kept.arrive(parameters);
  return kept.element;
}

class Search {
  constructor() {
    this.sightingsThen = gallery.sightings;
    this.query = null;
    this.answer = null;
    this.verdict = null;
    this.only = null;
    this.version = changes();
    this.filters = filterFields(gallery, () => this.runSoon());
    this.count = make("select", { onchange: () => this.runSoon() }, COUNTS.map((one) => make("option", { value: one }, number(one))));
    this.count.value = 100;
    this.queryPlace = make("div", { class: "query" });
    this.picker = make("div", {});
    this.status = make("p", { class: "status", role: "status", "aria-live": "polite" });
    this.chips = make("div", { class: "chips", role: "group", "aria-label": "Show only" });
    this.line = make("div", {});
    this.below = make("div", {});
    this.selection = selectionBar((numbers) => this.read(numbers));
    this.grid = cardGrid({
      label: "Sightings found, nearest first",
      ...CARD,
      makeCard: (match, index) => sightingCard(match, () => this.open(index), may("write") ? this.selection : null),
    });
    this.element = make(
      "div",
      { class: "search" },
      make("h1", { tabIndex: -1 }, "Search"),
      make("aside", { "aria-label": "Query and filters" }, this.queryPlace, this.settings()),
      make(
        "section",
        { class: "results", "aria-label": "Results" },
        this.picker,
        this.status,
        this.chips,
        this.line,
        this.selection.element,
        this.grid.element,
        this.below,
      ),
    );
    this.showQuery();
    this.showNothing();
  }

  settings() {
    const isWide = matchMedia("(min-width: 801px)").matches;
    return make(
      "details",
      { class: "settings", open: isWide },
      make("summary", {}, "Filters"),
      this.filters.element,
      field("Sightings at most", this.count),
      button("Clear the filters", () => {
        this.filters.clear();
        this.runSoon();
      }, { class: "quiet" }),
    );
  }

  async arrive(parameters) {
    const sighting = Number(parameters.get("sighting")) || null;
    const person = parameters.get("person");
    if (sighting !== null && this.query?.sighting?.sighting !== sighting) {
      this.setQuery({ sighting: await getJson(`/v1/sightings/${sighting}`) });
    } else if (person && this.query?.person !== person) {
      this.setQuery({ person });
    } else if (this.version !== changes()) {
      this.version = changes();
      this.read(this.answer?.matches.map((match) => match.sighting) ?? []);
    }
  }

  async take(file) {
    try {
      const { image, crop, isScene } = await readPicture(file);
      this.scene = image;
      if (isScene) this.pickFrom(image);
      else this.setQuery({ crop, image });
    } catch (error) {
      announce(error.message);
    }
  }

  pickFrom(image) {
    const picker = framePicker(
      image,
      async (crop) => {
        fill(this.picker);
        this.setQuery({ crop, image, isFromScene: true });
      },
      () => fill(this.picker),
    );
    fill(this.picker, picker.element);
    picker.focus();
  }

  setQuery(query) {
    if (this.query?.url) URL.revokeObjectURL(this.query.url);
    this.query = query;
    if (query?.crop) query.url = URL.createObjectURL(query.crop);
    this.showQuery();
    this.run();
  }

  showQuery() {
    const { query } = this;
    if (query === null) {
      const { input, element } = personInput({ "aria-label": "Name of a person", placeholder: "Or search by a person's name" });
      const form = make("form", { class: "inline" }, element, make("button", { type: "submit" }, "Search"));
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (input.value.trim()) this.setQuery({ person: input.value.trim() });
      });
      fill(this.queryPlace, pictureInput((file) => this.take(file)), gallery.people > 0 && form);
      return;
    }
    const shown = make("div", { class: "chosen" });
    if (query.url) shown.append(make("span", { class: "picture" }, make("img", { src: query.url, alt: "The crop that is searched for" })));
    if (query.sighting) shown.append(picture(query.sighting, "The sighting that is searched for"));
    const about = make("div", { class: "actions column" });
    if (query.person) about.append(make("p", {}, "All sightings of ", make("a", { href: personAddress(query.person) }, query.person)));
    if (query.sighting) about.append(make("p", {}, `Sighting ${query.sighting.sighting}`));
    if (query.image) {
      about.append(button(query.isFromScene ? "Choose another person" : "Draw a box in it", () => this.pickFrom(query.image)));
    }
    about.append(button("Search for something else", () => this.reset()));
    shown.append(about);
    fill(this.queryPlace, shown, query.crop && may("write") && gallery.keeps_crops && addForm(query.crop));
  }

  reset() {
    this.setQuery(null);
    if (location.hash !== "#/search") history.replaceState(null, "", "#/search");
    this.queryPlace.querySelector("button").focus();
  }

  runSoon() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.run(), WAIT_MS);
  }

  async run() {
    this.running?.abort();
    fill(this.below);
    if (this.query === null) return this.showNothing();
    this.running = new AbortController();
    this.status.textContent = "Searching…";
    this.element.classList.add("busy");
    const { crop, person, sighting } = this.query;
    const fields = { crop, person, sighting: sighting?.sighting, count: this.count.value, ...this.filters.values() };
    try {
      this.answer = await postForm("/v1/search", fields, this.running.signal);
      this.verdict = null;
      this.only = null;
      this.version = changes();
      this.selection.clear();
      this.showAnswer();
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      this.answer = null;
      this.showNothing();
      this.status.textContent = "";
      fill(this.below, notice("The search was refused", make("p", {}, errorText(error))));
    }
    this.element.classList.remove("busy");
    return undefined;
  }

  showNothing() {
    this.element.classList.remove("busy");
    this.answer = null;
    this.status.textContent = "";
    fill(this.chips);
    fill(this.line);
    this.selection.clear();
    this.grid.show([]);
    if (this.query === null) {
      fill(
        this.below,
        notice(
          "Who are you looking for?",
          make(
            "p",
            {},
            `Choose a picture, and ${counted(gallery.sightings, "sighting")} by ${counted(Object.keys(gallery.cameras).length, "camera")} are compared with it. `,
            gallery.calibrated_on === null
              ? "This gallery has no calibration, so results have a distance and no probability."
              : "Each result says how likely it shows the same person.",
          ),
          make("p", { class: "caption" }, "Every search is kept in the gallery's log, with the name of your token."),
        ),
      );
    }
  }

  showAnswer() {
    const { matches } = this.answer;
    this.status.textContent = matches.length === 0 ? "Nothing was found. Try fewer filters." : this.summary(matches);
    this.showChips(matches);
    this.narrow();
  }

  summary(matches) {
    const best = matches[0];
    const found = `${counted(matches.length, "sighting")} found`;
    return best.probability === null ? `${found}, nearest first.` : `${found}. The nearest shows the same person with a probability of ${percent(best.probability)}.`;
  }

  showChips(matches) {
    if (!matches.length || matches[0].verdict === null) return fill(this.chips);
    const chip = (verdict, label, count) =>
      button(`${label} ${number(count)}`, () => {
        this.verdict = verdict;
        this.only = null;
        this.showChips(matches);
        this.narrow();
      }, { class: `chip ${verdict ?? ""}`, "aria-pressed": String(this.verdict === verdict) });
    const focused = [...this.chips.children].indexOf(document.activeElement);
    fill(
      this.chips,
      chip(null, "All", matches.length),
      Object.entries(VERDICTS).map(([verdict, label]) => chip(verdict, label, matches.filter((one) => one.verdict === verdict).length)),
    );
    if (focused >= 0) this.chips.children[focused].focus();
    return undefined;
  }

  /** Show the matches that the chips and the time line leave. */
  narrow() {
    const ofVerdict = this.answer.matches.filter((one) => this.verdict === null || one.verdict === this.verdict);
    this.shown = this.only === null ? ofVerdict : ofVerdict.filter((one) => this.only.has(one.sighting));
    this.grid.show(this.shown);
    if (this.only === null) {
      fill(this.line, timeline(ofVerdict, (sightings) => this.showOnly(sightings)));
      fill(this.below);
    }
  }

  showOnly(sightings) {
    this.only = new Set(sightings.map((one) => one.sighting));
    this.narrow();
    this.line.querySelector(".only")?.remove();
    const all = button("Show all", () => {
      this.only = null;
      this.narrow();
    });
    this.line.append(make("p", { class: "only" }, `${counted(sightings.length, "sighting")} of this mark. `, all));
    this.grid.reveal(0);
  }

  open(index) {
    openSighting(this.shown, index, (numbers) => this.read(numbers));
  }

  /** Read sightings again after a decision, so that the cards name who they show now. */
  async read(numbers) {
    if (!this.answer || numbers.length === 0) return;
    try {
      const people = new Map();
      for (let from = 0; from < numbers.length; from += 500) {
        const where = `sighting in (${numbers.slice(from, from + 500).join(", ")})`;
        const page = await getJson("/v1/sightings", { where, limit: 500 });
        for (const one of page.sightings) people.set(one.sighting, one.person);
      }
      for (const match of this.answer.matches) if (people.has(match.sighting)) match.person = people.get(match.sighting);
      this.version = changes();
      this.grid.refresh();
    } catch (error) {
      announceError(error);
    }
  }
}
