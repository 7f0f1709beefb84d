/** A sighting as a card of a list, and the dialog that shows all of it. */

import { decide } from "./decisions.js";
import { button, definitions, fill, make } from "./elements.js";
import { personInput } from "./person_input.js";
import { picture } from "./pictures.js";
import { may } from "./session.js";
import { cameraName, counted, describeSighting, fullTime, percent, personAddress, personName, shortTime, VERDICTS } from "./texts.js";

export const CARD = { cardWidth: 150, cardHeight: 318 };

/**
 * The content of a card.
 * @param {object} sighting A sighting or a match.
 * @param {function} onOpen Called when its picture is pressed.
 * @param {{has: function, toggle: function}|null} selection Which sightings are selected; null where none can be.
 */
export function sightingCard(sighting, onOpen, selection = null) {
  const name = describeSighting(sighting);
  return make(
    "article",
    { class: `card ${sighting.verdict ?? ""}` },
    make("button", { type: "button", class: "open", onclick: onOpen, "aria-label": `Open: ${name}` }, picture(sighting, "")),
    selection &&
      make(
        "label",
        { class: "select" },
        make("input", {
          type: "checkbox",
          checked: selection.has(sighting.sighting),
          onchange: (event) => selection.toggle(sighting.sighting, event.target.checked),
          "aria-label": `Select: ${name}`,
        }),
      ),
    make(
      "div",
      { class: "facts" },
      verdictLine(sighting),
      sighting.person === null
        ? make("span", { class: "nobody" }, personName(null))
        : make("a", { href: personAddress(sighting.person), class: "name" }, sighting.person),
      make("span", { class: "caption" }, cameraName(sighting.camera)),
      make("span", { class: "caption" }, shortTime(sighting.time)),
    ),
  );
}

/** Verdict and probability of a match; its distance where there is no calibration; nothing for other sightings. */
export function verdictLine(match) {
  if (match.verdict) {
    return make("span", { class: `verdict ${match.verdict}` }, make("b", {}, VERDICTS[match.verdict]), percent(match.probability));
  }
  return match.distance === undefined ? null : make("span", { class: "verdict" }, `Distance ${match.distance.toFixed(3)}`);
}

/**
 * Show a sighting in a dialog; arrow keys go to the next one of a list.
 * @param {Array} sightings The list.
 * @param {number} index Where to begin.
 * @param {function} onDecided Called with the sighting's number and its new person.
 */
export function openSighting(sightings, index, onDecided = () => {}) {
  const body = make("div", {});
  const dialog = make("dialog", { class: "sighting", "aria-label": "Sighting" }, body);
  let at = index;

  function move(step) {
    at = Math.min(sightings.length - 1, Math.max(0, at + step));
    show();
  }

  function show() {
    const sighting = sightings[at];
    const hadFocus = document.activeElement?.dataset?.step;
    fill(
      body,
      make(
        "header",
        {},
        make("h2", {}, `Sighting ${sighting.sighting}`),
        button("Close", () => dialog.close(), { class: "quiet" }),
      ),
      make("div", { class: "pair" }, picture(sighting), make("div", {}, sightingFacts(sighting), actions(sighting))),
      sightings.length > 1 &&
        make(
          "footer",
          {},
          button("Previous", () => move(-1), { disabled: at === 0, data: { step: "-1" } }),
          make("span", { class: "caption", "aria-live": "polite" }, `${at + 1} of ${sightings.length}`),
          button("Next", () => move(1), { disabled: at === sightings.length - 1, data: { step: "1" } }),
        ),
    );
    if (hadFocus) body.querySelector(`[data-step="${hadFocus}"]:not(:disabled)`)?.focus();
  }

  function actions(sighting) {
    const all = make(
      "div",
      { class: "actions column" },
      make("a", { class: "button", href: `#/search?sighting=${sighting.sighting}` }, "Search with this sighting"),
    );
    if (may("write")) all.append(assignForm([sighting.sighting], onDecided, () => dialog.close()));
    return all;
  }

  dialog.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT") return;
    if (event.key === "ArrowRight") move(1);
    if (event.key === "ArrowLeft") move(-1);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("a")) dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  show();
  document.body.append(dialog);
  dialog.showModal();
}

/** Everything that is known of a sighting. */
export function sightingFacts(sighting) {
  const person = sighting.person === null ? personName(null) : make("a", { href: personAddress(sighting.person) }, sighting.person);
  return definitions([
    ["Verdict", verdictLine(sighting)],
    ["Person", person],
    ["Camera", cameraName(sighting.camera)],
    ["Time", fullTime(sighting.time)],
    ["Distance", sighting.distance?.toFixed(4)],
    ["Track", sighting.track],
    ["Sharpness", sighting.quality?.toFixed(2)],
    ["Box", sighting.box_xyxy?.map((value) => Math.round(value)).join(", ")],
    ...Object.entries(sighting.columns).map(([name, value]) => [name, String(value)]),
  ]);
}

/** A form that gives sightings to a person. */
export function assignForm(numbers, onDecided, onDone = () => {}) {
  const { input, element } = personInput({ "aria-label": "Name of the person", placeholder: "Name", required: true });
  const give = async (person) => {
    const text = `${counted(numbers.length, "sighting")} given to ${person === null ? "nobody" : person}.`;
    onDone();
    await decide({ kind: "assign", sightings: numbers, person }, text, (made) => onDecided(numbers, made === null ? undefined : person));
  };
  return make(
    "form",
    {
      class: "inline",
      onsubmit: (event) => {
        event.preventDefault();
        if (input.value.trim()) give(input.value.trim());
      },
    },
    element,
    make("button", { type: "submit" }, "Give this name"),
    button("Remove the name", () => give(null), { class: "quiet" }),
  );
}
