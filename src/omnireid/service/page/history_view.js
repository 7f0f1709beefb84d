/** History: who decided what, when and why; each decision can be taken back, in any order. */

import { getJson } from "./api.js";
import { describeDecision, undo } from "./decisions.js";
import { button, fill, make } from "./elements.js";
import { notice } from "./messages.js";
import { may } from "./session.js";
import { counted, fullTime } from "./texts.js";

const PAGE = 100;

export const title = "History";

export async function show({ signal, again }) {
  const list = make("ol", { class: "events", role: "list" });
  const more = make("div", { class: "actions" });
  let offset = 0;

  async function load() {
    const page = await getJson("/v1/decisions", { offset, limit: PAGE }, signal);
    offset += page.decisions.length;
    list.append(...page.decisions.map((decision) => entry(decision, again)));
    fill(more, offset < page.total && button("Load more", load));
    return page.total;
  }

  const total = await load();
  return make(
    "div",
    {},
    make("h1", { tabIndex: -1 }, "History"),
    total === 0
      ? notice("Nothing was decided yet", make("p", {}, "Decisions about people appear here, and each can be undone."))
      : [make("p", { class: "status" }, `${counted(total, "decision")}, the last one first. An undo can be undone too.`), list, more],
  );
}

function entry(decision, again) {
  const what = describeDecision(decision);
  return make(
    "li",
    { class: decision.undone ? "undone" : null },
    make(
      "div",
      {},
      make("strong", {}, what),
      decision.undone && make("span", { class: "badge" }, "Undone"),
      decision.reason && make("p", {}, decision.reason),
      make("p", { class: "caption" }, `${decision.event}. ${fullTime(decision.time)}, ${decision.who}`),
    ),
    may("write") && !decision.undone && button("Undo", () => undo(decision.event, again), { "aria-label": `Undo decision ${decision.event}: ${what}` }),
  );
}
