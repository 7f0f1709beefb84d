/** Signing in with a token. */

import { keepToken } from "./api.js";
import { field, make } from "./elements.js";
import { errorText } from "./messages.js";
import { readGallery } from "./session.js";

/**
 * A form for the token.
 * @param {string} reason Why the last token was refused; empty at first.
 * @param {function} onSignedIn Called when the service took the token.
 */
export function signIn(reason, onSignedIn) {
  const token = make("input", { type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "sign-in-error" });
  const error = make("p", { id: "sign-in-error", class: "error", role: "alert" }, reason);
  const form = make(
    "form",
    { class: "panel" },
    make("h1", { tabIndex: -1 }, "Sign in"),
    make("p", {}, "This gallery is open to people with a token. Ask whoever runs the service for yours."),
    field("Token", token, "It is kept in this tab only, and forgotten when you close it."),
    error,
    make("button", { type: "submit", class: "primary" }, "Sign in"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    keepToken(token.value.trim());
    try {
      await readGallery();
    } catch (refused) {
      keepToken(null);
      error.textContent = errorText(refused);
      token.focus();
      return;
    }
    onSignedIn();
  });
  return make("div", { class: "sign-in" }, form);
}
