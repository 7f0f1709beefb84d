/** A grid of cards of which only those near the window are in the document, so that 10,000 of them stay smooth. */

import { make } from "./elements.js";

const GAP = 12;
const ROWS_BEYOND = 3;

/**
 * A virtual grid that scrolls with the page.
 * @param {object} options
 * @param {string} options.label What a screen reader calls the list.
 * @param {function} options.makeCard Makes the content of a card from an item and its index.
 * @param {number} options.cardWidth The least width of a card, in pixels.
 * @param {number} options.cardHeight The height of a card, in pixels.
 * @param {AbortSignal} options.signal Ends it.
 */
export function cardGrid({ label, makeCard, cardWidth, cardHeight, signal }) {
  const list = make("ol", { class: "cards", role: "list", "aria-label": label });
  const rendered = new Map();
  let items = [];
  let columns = 1;
  let isWaiting = false;

  function measure() {
    columns = Math.max(2, Math.floor((list.clientWidth + GAP) / (cardWidth + GAP)));
    const rows = Math.ceil(items.length / columns);
    list.style.height = `${Math.max(0, rows * (cardHeight + GAP) - GAP)}px`;
  }

  function place(element, index) {
    const width = (list.clientWidth - GAP * (columns - 1)) / columns;
    const left = (index % columns) * (width + GAP);
    element.style.width = `${width}px`;
    element.style.height = `${cardHeight}px`;
    element.style.transform = `translate(${left}px, ${Math.floor(index / columns) * (cardHeight + GAP)}px)`;
  }

  function visibleRange() {
    const top = list.getBoundingClientRect().top;
    const first = Math.floor(-top / (cardHeight + GAP)) - ROWS_BEYOND;
    const last = Math.ceil((innerHeight - top) / (cardHeight + GAP)) + ROWS_BEYOND;
    return [Math.max(0, first * columns), Math.max(0, Math.min(items.length, last * columns))];
  }

  function render() {
    isWaiting = false;
    if (!list.isConnected) return;
    const [from, to] = visibleRange();
    for (const [index, element] of rendered) {
      // What has the focus stays, or the keyboard would lose its place.
      if ((index < from || index >= to) && !element.contains(document.activeElement)) {
        element.remove();
        rendered.delete(index);
      }
    }
    let after = null;
    for (let index = to - 1; index >= from; index -= 1) {
      let element = rendered.get(index);
      if (!element) {
        element = make("li", { "aria-setsize": items.length, "aria-posinset": index + 1 }, makeCard(items[index], index));
        place(element, index);
        rendered.set(index, element);
        list.insertBefore(element, after ?? firstAfter(index));
      }
      after = element;
    }
  }

  function firstAfter(index) {
    let found = null;
    for (const [other] of rendered) {
      if (other > index && (found === null || other < found)) found = other;
    }
    return found === null ? null : rendered.get(found);
  }

  function renderSoon() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(render);
  }

  function layOut() {
    measure();
    for (const [index, element] of rendered) place(element, index);
    renderSoon();
  }

  addEventListener("scroll", renderSoon, { passive: true, signal });
  addEventListener("resize", renderSoon, { passive: true, signal });
  let width = 0;
  new ResizeObserver(() => {
    if (list.clientWidth === width) return renderSoon();
    width = list.clientWidth;
    layOut();
  }).observe(list);

  return {
    element: list,

    /** Show other items. */
    show(newItems) {
      items = newItems;
      rendered.clear();
      list.replaceChildren();
      layOut();
    },

    /** Make the cards anew, as after a decision. */
    refresh() {
      this.show(items);
    },

    /** Scroll to an item and put the keyboard there. */
    reveal(index) {
      const top = list.getBoundingClientRect().top + scrollY + Math.floor(index / columns) * (cardHeight + GAP);
      scrollTo({ top: top - 120 });
      render();
      rendered.get(index)?.querySelector("button, a, input")?.focus({ preventScroll: true });
    },
  };
}
