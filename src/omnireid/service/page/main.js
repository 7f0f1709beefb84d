/** The page: which view is shown, who is signed in, and the colours. */

import { hasToken, includesRole, keepToken } from "./api.js";
import { button, fill, make } from "./elements.js";
import * as erase from "./erase_view.js";
import * as galleryView from "./gallery_view.js";
import * as historyView from "./history_view.js";
import { announceError, errorText, notice } from "./messages.js";
import * as people from "./people_view.js";
import * as person from "./person_view.js";
import { forgetPictures } from "./pictures.js";
import * as review from "./review_view.js";
import * as search from "./search_view.js";
import { endSession, gallery, readGallery } from "./session.js";
import { signIn } from "./sign_in_view.js";

const VIEWS = { search, people, person, review, history: historyView, gallery: galleryView, erase };
const main = document.getElementById("main");
const navigation = document.getElementById("navigation");
const scrolled = new Map();
let current = null;

function readAddress() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  let argument = rest.join("/");
  try {
    argument = decodeURIComponent(argument);
  } catch {
    // A name with a lone percent sign stays as it is.
  }
  return { name: name in VIEWS ? name : "search", argument, parameters: new URLSearchParams(query), key: location.hash };
}

async function showView({ isAgain = false } = {}) {
  if (gallery === null) return;
  const { name, argument, parameters, key } = readAddress();
  if (current) {
    scrolled.set(current.key, scrollY);
    current.controller.abort();
  }
  const isFirst = current === null;
  const controller = new AbortController();
  current = { key, controller };
  mark(name);
  main.setAttribute("aria-busy", "true");
  let element;
  try {
    element = await VIEWS[name].show({ argument, parameters, signal: controller.signal, again: () => showView({ isAgain: true }) });
  } catch (error) {
    if (controller.signal.aborted || error.status === 401) return;
    element = make("div", {}, make("h1", { tabIndex: -1 }, VIEWS[name].title), notice("This cannot be shown", make("p", {}, errorText(error)), button("Try again", () => showView())));
  }
  if (controller.signal.aborted) return;
  main.removeAttribute("aria-busy");
  const top = isAgain ? scrollY : 0;
  fill(main, element);
  const heading = element.querySelector("h1");
  document.title = `${name === "person" ? argument : VIEWS[name].title} · omnireid`;
  if (!isFirst && !isAgain) heading?.focus({ preventScroll: true });
  scrollTo(0, name === "search" ? (scrolled.get(key) ?? 0) : top);
}

function mark(name) {
  for (const link of navigation.querySelectorAll("a")) {
    const isHere = link.dataset.view === (name === "person" ? "people" : name);
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function showSession() {
  navigation.hidden = gallery === null;
  const who = document.getElementById("who");
  who.textContent = gallery === null || !hasToken() ? "" : gallery.who.replace(/@service$/, "");
  document.getElementById("sign-out").hidden = gallery === null || !hasToken();
  for (const link of navigation.querySelectorAll("[data-role]")) {
    link.hidden = gallery === null || !includesRole(gallery.role, link.dataset.role);
  }
}

function askForToken(reason = "") {
  current?.controller.abort();
  current = null;
  endSession();
  search.forget();
  forgetPictures();
  showSession();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  main.removeAttribute("aria-busy");
  document.title = "Sign in · omnireid";
  fill(main, signIn(reason, begin));
  main.querySelector("input").focus();
}

function begin() {
  showSession();
  showView();
}

async function start() {
  try {
    await readGallery();
    begin();
  } catch (error) {
    if (error.status === 401) return;
    fill(main, make("h1", {}, "omnireid"), notice("The service does not answer", make("p", {}, errorText(error)), button("Try again", start)));
  }
}

const theme = document.getElementById("theme");
theme.value = document.documentElement.dataset.theme;
theme.addEventListener("change", () => {
  document.documentElement.dataset.theme = theme.value;
  try {
    localStorage.setItem("omnireid-theme", theme.value);
  } catch {
    // Where nothing may be stored, the choice lasts as long as the page.
  }
});

document.getElementById("sign-out").addEventListener("click", () => {
  keepToken(null);
  askForToken();
});
addEventListener("omnireid:signed-out", (event) => {
  const had = hasToken() && gallery !== null;
  keepToken(null);
  if (!main.querySelector(".sign-in")) askForToken(had ? event.detail.message : "");
});
addEventListener("hashchange", () => showView());
addEventListener("unhandledrejection", (event) => announceError(event.reason));
if ("scrollRestoration" in history) history.scrollRestoration = "manual";
start();
