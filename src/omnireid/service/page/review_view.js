/** Review: does a pair of sightings show one person? One key for each answer. */

import { getJson, postJson } from "./api.js";
import { button, fill, make } from "./elements.js";
import { announce, announceError, errorText, notice } from "./messages.js";
import { fetchAhead, picture } from "./pictures.js";
import { markChanged, may } from "./session.js";
import { cameraName, counted, fullTime, number, percent, personName } from "./texts.js";

const AT_ONCE = 20;

export const title = "Review";

export async function show({ signal }) {
  const body = make("div", {});
  const element = make("div", { class: "review" }, make("h1", { tabIndex: -1 }, "Review"), body);
  if (!may("write")) {
    fill(body, notice("Your token may only look", make("p", {}, "Answering takes a token with the role write.")));
    return element;
  }
  const queue = { questions: [], at: 0, answered: [], isBusy: false, body, signal };
  await load(queue);
  addEventListener("keydown", (event) => onKey(queue, event), { signal });
  return element;
}

async function load(queue) {
  fill(queue.body, make("p", { class: "status", role: "status" }, "Looking for the questions that help most…"));
  try {
    const skipped = new Set(queue.questions.slice(0, queue.at).map(keyOf));
    const { questions } = await getJson("/v1/review", { count: AT_ONCE + Math.min(skipped.size, 100) }, queue.signal);
    const fresh = questions.filter((one) => !skipped.has(keyOf(one)));
    queue.questions = [...queue.questions.slice(0, queue.at), ...fresh];
    showQuestion(queue);
  } catch (error) {
    if (error.name === "AbortError") return;
    const isCalibrated = error.code !== "CalibrationError";
    fill(
      queue.body,
      isCalibrated
        ? notice("The questions could not be read", make("p", {}, errorText(error)))
        : notice(
            "There is no calibration yet",
            make("p", {}, "Which pairs are doubtful is known only where distances are probabilities. On the server:"),
            make("pre", { tabIndex: 0 }, "omnireid gallery calibrate calibration.json --gallery GALLERY"),
          ),
    );
  }
}

function showQuestion(queue) {
  const question = queue.questions[queue.at];
  const given = queue.answered.filter((one) => one.event !== null).length;
  if (!question) {
    fill(
      queue.body,
      notice(
        "No questions are left",
        make("p", {}, given ? `${counted(given, "answer")} given. Thank you.` : "Nothing is doubtful, or you skipped it all."),
        make("div", { class: "actions" }, button("Look again", () => restart(queue), { class: "primary" }), undoButton(queue)),
      ),
    );
    return;
  }
  const { one, other, probability, changed } = question;
  fill(
    queue.body,
    make(
      "p",
      { class: "status", role: "status", "aria-live": "polite" },
      `Question ${number(queue.at + 1)} of ${number(queue.questions.length)}: do both show one person? `,
      make("b", {}, `${percent(probability)} likely`),
      `. Yes moves ${counted(changed, "sighting")}.`,
    ),
    make("div", { class: "pair" }, side(one), side(other)),
    make(
      "div",
      { class: "answers", role: "group", "aria-label": "Answer" },
      answerButton("Same person", "s", "same", () => answer(queue, true)),
      answerButton("Different", "d", "different", () => answer(queue, false)),
      answerButton("Next, skip", "n", "", () => skip(queue)),
      undoButton(queue),
    ),
    make("p", { class: "caption" }, "Keys: s same, d different, n skip, u undo. Every answer is kept in the history, where it can be undone later too."),
  );
  const next = queue.questions[queue.at + 1];
  if (next) for (const sighting of [next.one, next.other]) fetchAhead(sighting);
}

function side(sighting) {
  return make(
    "figure",
    {},
    picture(sighting),
    make(
      "figcaption",
      {},
      make("strong", {}, personName(sighting.person)),
      make("span", { class: "caption" }, cameraName(sighting.camera)),
      make("span", { class: "caption" }, fullTime(sighting.time)),
    ),
  );
}

function answerButton(label, key, kind, onclick) {
  return button([label, make("kbd", {}, key)], onclick, { class: `answer ${kind}`, "aria-keyshortcuts": key });
}

function undoButton(queue) {
  const undo = answerButton("Undo", "u", "", () => takeBack(queue));
  undo.disabled = queue.answered.length === 0;
  return undo;
}

async function answer(queue, same) {
  const { one, other } = queue.questions[queue.at];
  await busily(queue, async () => {
    const made = await postJson("/v1/review", { one: one.sighting, other: other.sighting, same });
    queue.answered.push({ at: queue.at, event: made.event });
    announce(`${same ? "Same person" : "Different people"}: kept as decision ${made.event}.`);
    await markChanged();
  });
  await advance(queue);
}

async function skip(queue) {
  queue.answered.push({ at: queue.at, event: null });
  await advance(queue);
}

async function advance(queue) {
  queue.at += 1;
  if (queue.at >= queue.questions.length) await load(queue);
  else showQuestion(queue);
}

async function takeBack(queue) {
  const last = queue.answered.pop();
  if (!last) return;
  await busily(queue, async () => {
    if (last.event !== null) {
      await postJson("/v1/decisions", { kind: "undo", event: last.event });
      await markChanged();
      announce(`Decision ${last.event} is undone.`);
    }
    queue.at = last.at;
  });
  showQuestion(queue);
}

async function restart(queue) {
  Object.assign(queue, { questions: [], at: 0, answered: [] });
  await load(queue);
}

/** One answer at a time. One that was refused, as its people changed meanwhile, is passed over with a message. */
async function busily(queue, work) {
  queue.isBusy = true;
  try {
    await work();
  } catch (error) {
    announceError(error);
  } finally {
    queue.isBusy = false;
  }
}

function onKey(queue, event) {
  const isTyping = event.target.matches?.("input, select, textarea") || document.querySelector("dialog[open]");
  if (isTyping || queue.isBusy || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const isAsking = queue.questions[queue.at] !== undefined;
  const call = {
    s: isAsking && (() => answer(queue, true)),
    d: isAsking && (() => answer(queue, false)),
    n: isAsking && (() => skip(queue)),
    u: () => takeBack(queue),
  }[event.key.toLowerCase()];
  if (!call) return;
  event.preventDefault();
  call();
}

function keyOf({ one, other }) {
  return `${one.sighting} ${other.sighting}`;
}
