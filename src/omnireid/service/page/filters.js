/** The filter of a search: cameras, times and a condition. */

import { field, make } from "./elements.js";
import { cameraName, number, ZONE } from "./texts.js";

/**
 * Fields for a filter.
 * @param {object} gallery The answer of /v1/gallery.
 * @param {function} onChange Called when a field was changed.
 */
export function filterFields(gallery, onChange) {
  const cameras = Object.entries(gallery.cameras)
    .sort(([one], [other]) => one.localeCompare(other, "en", { numeric: true }))
    .map(([name, count]) => ({
      name,
      label: make(
        "label",
        { class: "tick-box" },
        make("input", { type: "checkbox", value: name }),
        make("span", {}, cameraName(name)),
        make("small", {}, number(count)),
      ),
    }));
  const since = make("input", { type: "datetime-local", step: 1, name: "since" });
  const until = make("input", { type: "datetime-local", step: 1, name: "until" });
  const where = make("input", { type: "text", name: "where", maxlength: 4096, spellcheck: "false", placeholder: "bag = 'red'" });
  const columns = gallery.columns.length ? `Columns: ${gallery.columns.join(", ")}` : "Such as quality >= 0.5";
  const element = make(
    "div",
    { class: "filters", onchange: onChange },
    cameras.length > 0 &&
      make("fieldset", {}, make("legend", {}, "Cameras"), make("div", { class: "tick-boxes" }, cameras.map((one) => one.label))),
    gallery.first !== null &&
      make(
        "fieldset",
        {},
        make("legend", {}, `Time (${ZONE})`),
        field("From", since),
        field("Until", until),
      ),
    make("details", {}, make("summary", {}, "Condition"), field("Only where", where, columns)),
  );
  const boxes = cameras.map((one) => one.label.querySelector("input"));
  return {
    element,

    /** The filter as the service takes it. */
    values() {
      return {
        cameras: boxes.filter((box) => box.checked).map((box) => box.value),
        since: timeOf(since),
        until: timeOf(until),
        where: where.value.trim() || null,
      };
    },

    /** How many fields are in use. */
    used() {
      const { cameras: chosen, since: from, until: to, where: condition } = this.values();
      return [chosen.length, from, to, condition].filter(Boolean).length;
    },

    /** Empty every field. */
    clear() {
      for (const box of boxes) box.checked = false;
      for (const input of [since, until, where]) input.value = "";
    },
  };
}

function timeOf(input) {
  return input.value ? new Date(input.value).toISOString() : null;
}
