/** A field for the name of a person, with suggestions. */

import { make } from "./elements.js";
import { peopleNames } from "./session.js";

let fields = 0;

/** Make the field; suggestions are read when somebody begins to type. */
export function personInput(properties = {}) {
  fields += 1;
  const list = make("datalist", { id: `people-${fields}` });
  const input = make("input", { type: "text", maxlength: 200, autocomplete: "off", spellcheck: "false", list: list.id, ...properties });
  input.addEventListener(
    "focus",
    async () => {
      try {
        list.replaceChildren(...(await peopleNames()).map((name) => make("option", { value: name })));
      } catch {
        // Without suggestions the field still takes every name.
      }
    },
    { once: true },
  );
  return { input, element: make("span", { class: "suggested" }, input, list) };
}
