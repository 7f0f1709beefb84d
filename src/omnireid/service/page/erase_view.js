/** Erasing: what goes is counted and named first, then confirmed, and a receipt is left. */

import { getJson, postJson } from "./api.js";
import { button, definitions, field, fill, make } from "./elements.js";
import { announce, announceError, confirmDialog, errorText, notice } from "./messages.js";
import { personInput } from "./person_input.js";
import { forgetPictures, picture } from "./pictures.js";
import { gallery, markChanged, may } from "./session.js";
import { bytes, cameraName, counted, fullTime, number, ZONE } from "./texts.js";

const SHOWN_PEOPLE = 12;
const SHOWN_PICTURES = 6;

export const title = "Erase";

export async function show({ parameters }) {
  const element = make("div", { class: "erase" }, make("h1", { tabIndex: -1 }, "Erase"));
  if (!may("erase")) {
    element.append(notice("Your token may not erase", make("p", {}, "Erasing takes a token with the role erase.")));
    return element;
  }
  const form = erasureForm(parameters.get("person"));
  const result = make("section", { class: "result", "aria-live": "polite", "aria-label": "What would go" });
  form.element.addEventListener("submit", async (event) => {
    event.preventDefault();
    await preview(form, result);
  });
  form.element.addEventListener("input", () => fill(result));
  element.append(
    make("p", {}, "Erased sightings are gone from the gallery's files, and no copy is left in them. This cannot be undone. All conditions that you give must hold."),
    form.element,
    result,
  );
  return element;
}

function erasureForm(person) {
  const chosen = new Set(person ? [person] : []);
  const names = make("ul", { class: "names", "aria-label": "People to erase" });
  const { input, element: nameField } = personInput({ "aria-label": "Name of a person" });
  const cameras = Object.keys(gallery.cameras).map((name) => make("input", { type: "checkbox", value: name }));
  const before = make("input", { type: "datetime-local", step: 1 });
  const where = make("input", { type: "text", maxlength: 4096, spellcheck: "false" });
  const block = make("input", { type: "checkbox" });

  function showNames() {
    const remove = (name) => () => {
      chosen.delete(name);
      showNames();
      input.focus();
      element.dispatchEvent(new Event("input"));
    };
    fill(names, [...chosen].map((name) => make("li", {}, name, button("Remove", remove(name), { class: "quiet", "aria-label": `Remove ${name}` }))));
  }

  function addName() {
    if (!input.value.trim()) return;
    chosen.add(input.value.trim());
    input.value = "";
    showNames();
  }

  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && input.value.trim()) {
      event.preventDefault();
      addName();
      element.dispatchEvent(new Event("input"));
    }
  });
  const element = make(
    "form",
    { class: "panel" },
    make("fieldset", {}, make("legend", {}, "People"), names, make("div", { class: "inline" }, nameField, button("Add this person", addName))),
    cameras.length > 0 &&
      make(
        "fieldset",
        {},
        make("legend", {}, "Cameras"),
        make("div", { class: "tick-boxes" }, cameras.map((box) => make("label", { class: "tick-box" }, box, make("span", {}, cameraName(box.value))))),
      ),
    make("div", { class: "columns" }, field(`Seen before (${ZONE})`, before), field("Only where", where, "Such as bag = 'red'")),
    make("label", { class: "tick-box" }, block, make("span", {}, "Refuse the same pictures from now on")),
    make("div", { class: "actions" }, make("button", { type: "submit", class: "primary" }, "Count what would go")),
  );
  showNames();
  return {
    element,
    /** The erasure as the service takes it. A name that was typed and not added counts too. */
    values() {
      addName();
      return {
        persons: [...chosen],
        cameras: cameras.filter((box) => box.checked).map((box) => box.value),
        before: before.value ? new Date(before.value).toISOString() : null,
        where: where.value.trim() || null,
        block: block.checked,
      };
    },
  };
}

async function preview(form, result) {
  const erasure = form.values();
  try {
    const found = await postJson("/v1/erasures", { ...erasure, preview: true });
    if (found.sightings === 0) {
      fill(result, notice("Nothing fits", make("p", {}, "No sighting fits all of these conditions.")));
      return;
    }
    const examples = await readExamples(erasure);
    fill(
      result,
      notice(
        `${counted(found.sightings, "sighting")} would go`,
        whatGoes(found, erasure),
        make("div", { class: "thumbnails" }, examples.map((sighting) => picture(sighting))),
        make("div", { class: "actions" }, button(`Erase ${counted(found.sightings, "sighting")}…`, () => erase(found, erasure, form, result), { class: "danger" })),
      ),
    );
  } catch (error) {
    fill(result, notice("This cannot be erased", make("p", {}, errorText(error))));
  }
}

async function readExamples({ persons, cameras, before, where }) {
  const page = await getJson("/v1/sightings", { persons, cameras, until: before, where, limit: SHOWN_PICTURES });
  return page.sightings;
}

function whatGoes({ sightings, people }, { cameras, before, where, block }) {
  const names = people.slice(0, SHOWN_PEOPLE).join(", ");
  const others = people.length > SHOWN_PEOPLE ? ` and ${number(people.length - SHOWN_PEOPLE)} more` : "";
  return definitions([
    ["Sightings", number(sightings)],
    [people.length === 1 ? "Person" : "People", people.length ? `${names}${others}` : "Nobody named"],
    ["Only by", cameras.map(cameraName).join(", ")],
    ["Only before", before && fullTime(before)],
    ["Only where", where],
    ["The same pictures", block ? "are refused from now on" : "may come back"],
  ]);
}

async function erase(found, erasure, form, result) {
  const isSure = await confirmDialog(
    `Erase ${counted(found.sightings, "sighting")} for good?`,
    [whatGoes(found, erasure), make("p", {}, "Pictures that the service keeps are deleted too. Nobody can bring them back.")],
    `Erase ${counted(found.sightings, "sighting")}`,
  );
  if (!isSure) return;
  fill(result, make("p", { class: "status" }, "Erasing, and searching every file for what should be gone…"));
  try {
    const done = await postJson("/v1/erasures", { ...erasure, preview: false });
    forgetPictures();
    await markChanged();
    fill(form.element);
    form.element.hidden = true;
    showReceipt(done, result);
    announce(`${counted(done.sightings, "sighting")} erased.`);
  } catch (error) {
    fill(result);
    announceError(error);
  }
}

function showReceipt({ sightings, pictures_deleted: pictures, receipt }, result) {
  const file = new Blob([`${JSON.stringify(receipt, null, 2)}\n`], { type: "application/json" });
  const name = `erasure-${receipt.time.slice(0, 19).replaceAll(":", "")}.json`;
  fill(
    result,
    notice(
      `${counted(sightings, "sighting")} erased`,
      make("p", {}, "The receipt is signed with the gallery's secret. It repeats what you asked for, names included."),
      definitions([
        ["When", fullTime(receipt.time)],
        ["By", receipt.who],
        ["Sightings", number(receipt.sightings)],
        ["People of whom nothing is left", number(receipt.people)],
        ["Pictures deleted", number(pictures)],
        ["Searched afterwards", `${counted(receipt.files, "file")}, ${bytes(receipt.bytes)}`],
        ["Found in them", receipt.found === 0 ? "Nothing of what was erased" : number(receipt.found)],
        ["Signature", receipt.signature],
      ]),
      make(
        "div",
        { class: "actions" },
        make("a", { class: "button primary", href: URL.createObjectURL(file), download: name }, "Download the receipt"),
        make("a", { class: "button", href: "#/search" }, "Back to the search"),
      ),
    ),
  );
  result.querySelector("a").focus();
}
