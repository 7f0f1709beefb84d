/** The gallery at a glance: health, what it holds, what its distances mean, and for administrators the log. */

import { getJson, getText } from "./api.js";
import { button, definitions, draw, fill, make } from "./elements.js";
import { errorText } from "./messages.js";
import { may, readGallery } from "./session.js";
import { bytes, cameraName, counted, fullTime, number, percent, period } from "./texts.js";

const ENTRIES = 50;

export const title = "Gallery";

export async function show({ signal }) {
  const [gallery, health, requests] = await Promise.all([readGallery(), readHealth(), readRequests()]);
  return make(
    "div",
    { class: "gallery" },
    make("h1", { tabIndex: -1 }, "Gallery"),
    make(
      "div",
      { class: "tiles" },
      tile("Health", health.isReady ? "Ready" : "Not ready", health.text, health.isReady ? "good" : "bad"),
      tile("Sightings", number(gallery.sightings), `${number(gallery.unassigned)} of nobody named`),
      tile("People", number(gallery.people), period(gallery.first, gallery.last)),
      tile("Requests", number(requests.all), `${counted(requests.failed, "failure")} since the service began`, requests.failed ? "bad" : ""),
    ),
    make("div", { class: "panels" }, calibrationPanel(gallery), camerasPanel(gallery), modelPanel(gallery), sessionPanel(gallery)),
    may("admin") && (await auditPanel(signal)),
  );
}

function tile(name, value, text, kind = "") {
  return make("section", { class: `tile ${kind}`, "aria-label": name }, make("h2", {}, name), make("p", { class: "value" }, value), make("p", { class: "caption" }, text));
}

function panel(name, ...content) {
  return make("section", { class: "panel" }, make("h2", {}, name), content);
}

async function readHealth() {
  const started = performance.now();
  try {
    await getJson("/health/ready");
    return { isReady: true, text: `Answered in ${Math.round(performance.now() - started)} ms` };
  } catch (error) {
    return { isReady: false, text: errorText(error) };
  }
}

/** Requests and failures, from the counters for Prometheus. */
async function readRequests() {
  let [all, failed] = [0, 0];
  for (const line of (await getText("/metrics")).split("\n")) {
    const found = /^omnireid_requests_total\{.*status="(\d+)".*\} ([\d.e+]+)$/.exec(line);
    if (!found) continue;
    all += Number(found[2]);
    if (found[1] >= "500") failed += Number(found[2]);
  }
  return { all, failed };
}

function calibrationPanel({ calibrated_on: data, thresholds }) {
  if (data === null) {
    return panel(
      "Calibration",
      make("p", {}, "None. Results have a distance, but no probability and no verdict, and there is no review. On the server:"),
      make("pre", { tabIndex: 0 }, "omnireid calibrate --data CROPS --output calibration.json\nomnireid gallery calibrate calibration.json --gallery GALLERY"),
    );
  }
  const [low, high] = thresholds;
  const zone = (kind, from, to) => draw("rect", { class: kind, x: 100 * from, y: 0, width: 100 * (to - from), height: 10 });
  return panel(
    "Calibration",
    make("p", {}, "Calibrated on ", make("b", {}, data), "."),
    draw(
      "svg",
      { class: "scale", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      zone("new", 0, low),
      zone("ask", low, high),
      zone("same", high, 1),
    ),
    make(
      "ul",
      { class: "legend" },
      make("li", {}, make("span", { class: "verdict new" }, make("b", {}, "New")), `below ${percent(low)}`),
      make("li", {}, make("span", { class: "verdict ask" }, make("b", {}, "Ask")), "between"),
      make("li", {}, make("span", { class: "verdict same" }, make("b", {}, "Same")), `from ${percent(high)}`),
    ),
    make("p", { class: "caption" }, "The verdict follows from the probability and from what mistakes and questions cost. It is true as far as the cameras resemble those of the calibration."),
  );
}

function camerasPanel({ cameras }) {
  const most = Math.max(1, ...Object.values(cameras));
  const rows = Object.entries(cameras).sort(([one], [other]) => one.localeCompare(other, "en", { numeric: true }));
  return panel(
    "Cameras",
    rows.length === 0 && make("p", {}, "No camera is known."),
    make(
      "table",
      { class: "bars" },
      make("caption", { class: "hidden" }, "Sightings by camera"),
      make("thead", { class: "hidden" }, make("tr", {}, make("th", { scope: "col" }, "Camera"), make("th", { scope: "col" }, "Sightings"))),
      make(
        "tbody",
        {},
        rows.map(([name, count]) => {
          const bar = make("span", { class: "bar" });
          bar.style.width = `${(100 * count) / most}%`;
          return make("tr", {}, make("th", { scope: "row" }, cameraName(name)), make("td", {}, make("span", { class: "room" }, bar), number(count)));
        }),
      ),
    ),
  );
}

function modelPanel(gallery) {
  return panel(
    "Model and storage",
    definitions([
      ["Gallery", gallery.name],
      ["Network", gallery.architecture],
      ["Licence of the weights", gallery.licence],
      ["Distance", gallery.distance],
      ["Search", gallery.index_recall === null ? "Every sighting is compared" : `Through an index that finds ${percent(gallery.index_recall)} of the nearest ten`],
      ["Columns", gallery.columns.join(", ")],
      ["Size", bytes(gallery.bytes)],
      ["Made", fullTime(gallery.created)],
    ]),
  );
}

function sessionPanel(gallery) {
  const allowed = ["Search and look"];
  if (may("write")) allowed.push("decide and review", ...(gallery.keeps_crops ? ["add sightings"] : []));
  if (may("erase")) allowed.push("erase");
  if (may("admin")) allowed.push("read the log");
  return panel("You", definitions([["Name", gallery.who.replace(/@service$/, "")], ["Role", gallery.role], ["You may", `${allowed.join(", ")}.`]]));
}

async function auditPanel(signal) {
  const body = make("tbody", {});
  const more = make("div", { class: "actions" });
  let offset = 0;

  async function load() {
    const page = await getJson("/v1/audit", { offset, limit: ENTRIES }, signal);
    offset += page.entries.length;
    body.append(
      ...page.entries.map((entry) =>
        make("tr", {}, make("td", {}, fullTime(entry.time)), make("td", {}, entry.who), make("td", {}, entry.action), make("td", { class: "details" }, JSON.stringify(entry.details))),
      ),
    );
    fill(more, offset < page.total && button("Load more", load));
  }

  await load();
  const names = ["When", "Who", "What", "Details"].map((name) => make("th", { scope: "col" }, name));
  return panel(
    "Log",
    make("div", { class: "scrolled", tabIndex: 0, role: "region", "aria-label": "Log" }, make("table", {}, make("thead", {}, make("tr", {}, names)), body)),
    more,
  );
}
