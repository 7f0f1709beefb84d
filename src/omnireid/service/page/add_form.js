/** Adding the crop of a search to the gallery. */

import { postForm } from "./api.js";
import { field, make } from "./elements.js";
import { announce, announceError } from "./messages.js";
import { personInput } from "./person_input.js";
import { gallery, markChanged } from "./session.js";

/** A form for what is known of a crop. */
export function addForm(crop) {
  const cameras = make("datalist", { id: "cameras-known" }, Object.keys(gallery.cameras).map((name) => make("option", { value: name })));
  const camera = make("input", { type: "text", maxlength: 200, list: cameras.id, autocomplete: "off" });
  const time = make("input", { type: "datetime-local", step: 1 });
  const person = personInput();
  const submit = make("button", { type: "submit" }, "Add to the gallery");
  const form = make(
    "form",
    {},
    field("Camera", camera),
    cameras,
    field("Time", time),
    field("Person, if known", person.element),
    submit,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      const fields = { crop, camera: camera.value.trim(), time: time.value && new Date(time.value).toISOString(), person: person.input.value.trim() };
      const { added, sighting } = await postForm("/v1/sightings", fields);
      announce(added ? `Added as sighting ${sighting.sighting}.` : `It was there already, as sighting ${sighting.sighting}.`);
      if (added) await markChanged();
    } catch (error) {
      announceError(error);
    } finally {
      submit.disabled = false;
    }
  });
  return make("details", { class: "add" }, make("summary", {}, "Add this crop to the gallery"), form);
}
