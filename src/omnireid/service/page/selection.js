/** Sightings that are selected, and a bar that says what can be done with all of them. */

import { button, fill, make } from "./elements.js";
import { assignForm } from "./sighting_card.js";
import { counted } from "./texts.js";

/**
 * A selection with its bar.
 * @param {function} onDecided Called with the numbers of the sightings after a decision about them.
 * @param {function|null} more Makes further elements for the bar from the numbers.
 */
export function selectionBar(onDecided, more = null) {
  const chosen = new Set();
  const element = make("section", { class: "selection", "aria-label": "Selected sightings", hidden: true });

  function clear() {
    chosen.clear();
    show();
  }

  function show() {
    element.hidden = chosen.size === 0;
    const numbers = [...chosen];
    fill(
      element,
      make("strong", { "aria-live": "polite" }, `${counted(chosen.size, "sighting")} selected`),
      chosen.size > 0 && [more?.(numbers, clear), assignForm(numbers, onDecided, clear)],
      button("Clear", () => {
        clear();
        onDecided(numbers);
      }, { class: "quiet" }),
    );
  }

  return {
    element,
    clear,
    has: (number) => chosen.has(number),
    toggle(number, isChosen) {
      if (isChosen) chosen.add(number);
      else chosen.delete(number);
      show();
    },
  };
}
