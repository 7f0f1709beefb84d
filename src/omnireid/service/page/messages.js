/** Messages at the foot of the page, which screen readers read out, and questions before something is done. */

import { button, make } from "./elements.js";

const SHOWN_MS = 12_000;

/**
 * Show a message.
 * @param {string} text What happened.
 * @param {{label: string, call: function}|null} action What can be done about it, such as taking it back.
 */
export function announce(text, action = null) {
  const message = make("div", { class: "message" }, make("span", {}, text));
  const close = () => message.remove();
  if (action) {
    message.append(
      button(action.label, () => {
        close();
        action.call();
      }),
    );
  }
  message.append(button("Dismiss", close, { class: "quiet" }));
  const shown = document.getElementById("messages");
  while (shown.children.length > 2) shown.firstChild.remove();
  shown.append(message);
  setTimeout(() => {
    if (!message.contains(document.activeElement)) close();
  }, SHOWN_MS);
}

/** Show an error as a message. A request that was given up is none. */
export function announceError(error) {
  if (error.name === "AbortError" || error.status === 401) return;
  console.error(error);
  announce(errorText(error));
}

/** What an error says, with the id by which its operator finds it. */
export function errorText(error) {
  const id = error.status >= 500 && error.requestId ? ` Request ${error.requestId}.` : "";
  return `${error.message}${id}`;
}

/** A block that says why there is nothing to see. */
export function notice(title, ...content) {
  return make("div", { class: "notice" }, make("h2", {}, title), content.flat());
}

/**
 * Ask before something is done. The answer is true only if the button named `label` was pressed.
 * @param {string} title The question.
 * @param {Array<Node>} content What would happen.
 * @param {string} label What the button says.
 * @returns {Promise<boolean>}
 */
export function confirmDialog(title, content, label) {
  return new Promise((resolve) => {
    const dialog = make(
      "dialog",
      { class: "confirm", "aria-labelledby": "confirm-title" },
      make("h2", { id: "confirm-title" }, title),
      content,
      make(
        "div",
        { class: "actions" },
        button("Cancel", () => dialog.close(), { autofocus: true }),
        button(label, () => dialog.close("yes"), { class: "danger" }),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
