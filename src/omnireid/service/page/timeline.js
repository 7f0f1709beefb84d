/** Sightings in time, with a lane for each camera. Marks that would overlap are one mark. */

import { draw, make } from "./elements.js";
import { cameraName, counted, percent, period, tickLabel } from "./texts.js";

const MARK = 26;
const STEPS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000];
const ORDER = { same: 0, ask: 1, new: 2, none: 3 };

/**
 * A time line.
 * @param {Array} sightings Sightings or matches.
 * @param {function} onChoose Called with the sightings behind a mark that was chosen.
 * @param {boolean} isPath Whether the sightings are of one person, so that a line leads from one to the next.
 */
export function timeline(sightings, onChoose, isPath = false) {
  const timed = sightings.filter((one) => one.time !== null).map((one) => ({ one, at: Date.parse(one.time) }));
  const element = make("section", { class: "timeline", "aria-label": "Time line" });
  if (timed.length === 0) {
    element.hidden = true;
    return element;
  }
  timed.sort((a, b) => a.at - b.at);
  const cameras = [...new Set(timed.map(({ one }) => one.camera))].sort(compareCameras);
  const untimed = sightings.length - timed.length;
  const lanes = make("div", { class: "lanes" });
  element.append(
    make(
      "p",
      { class: "caption" },
      period(timed[0].one.time, timed.at(-1).one.time),
      untimed ? `. ${counted(untimed, "sighting")} without a time.` : "",
    ),
    lanes,
  );
  let width = 0;
  new ResizeObserver(() => {
    if (lanes.clientWidth === width) return;
    width = lanes.clientWidth;
    drawLanes(lanes, timed, cameras, onChoose, isPath);
  }).observe(lanes);
  return element;
}

function drawLanes(lanes, timed, cameras, onChoose, isPath) {
  const nameWidth = lanes.clientWidth < 500 ? 84 : 130;
  const room = Math.max(60, lanes.clientWidth - nameWidth - MARK);
  const first = timed[0].at;
  const span = Math.max(1000, timed.at(-1).at - first);
  const bins = Math.max(1, Math.floor(room / MARK));
  const laneHeight = 34;
  const leftOf = (share) => nameWidth + MARK / 2 + share * room;
  const topOf = (camera) => cameras.indexOf(camera) * laneHeight + laneHeight / 2;

  lanes.replaceChildren();
  lanes.style.height = `${cameras.length * laneHeight + 26}px`;
  cameras.forEach((camera, index) => {
    const lane = make("div", { class: "lane" }, make("span", { title: cameraName(camera) }, cameraName(camera)));
    lane.style.top = `${index * laneHeight}px`;
    lane.firstChild.style.width = `${nameWidth - 10}px`;
    lanes.append(lane);
  });
  for (const { at, label } of ticks(first, span, room)) {
    const tick = make("span", { class: "tick" }, label);
    tick.style.left = `${leftOf((at - first) / span)}px`;
    tick.style.top = `${cameras.length * laneHeight}px`;
    lanes.append(tick);
  }

  const marks = gather(timed, first, span, bins);
  if (isPath && marks.length > 1) {
    const points = marks.map((mark) => `${leftOf(mark.share)},${topOf(mark.camera)}`).join(" ");
    lanes.append(draw("svg", { class: "path", "aria-hidden": "true" }, draw("polyline", { points })));
  }
  const most = Math.max(...marks.map((mark) => mark.sightings.length));
  const buttons = marks.map((mark) => {
    const one = make("button", {
      type: "button",
      class: `mark ${mark.verdict}`,
      "aria-label": describeMark(mark),
      title: describeMark(mark),
      tabIndex: -1,
      onclick: () => onChoose(mark.sightings),
    });
    one.style.left = `${leftOf(mark.share) - MARK / 2}px`;
    one.style.top = `${topOf(mark.camera) - MARK / 2}px`;
    one.style.setProperty("--size", `${10 + 12 * Math.sqrt((mark.sightings.length - 1) / Math.max(1, most - 1))}px`);
    return one;
  });
  const group = make("div", { role: "group", "aria-label": "Marks; arrow keys move between them" }, buttons);
  buttons[0].tabIndex = 0;
  group.addEventListener("keydown", (event) => moveFocus(event, marks, buttons));
  lanes.append(group);
}

/** Sightings of one camera that are so near in time that their marks would overlap. */
function gather(timed, first, span, bins) {
  const found = new Map();
  for (const { one, at } of timed) {
    const bin = Math.min(bins - 1, Math.floor(((at - first) / span) * bins));
    const key = `${bin}\n${one.camera}`;
    if (!found.has(key)) found.set(key, { camera: one.camera, sightings: [], verdict: "none", total: 0 });
    const mark = found.get(key);
    mark.sightings.push(one);
    mark.total += (at - first) / span;
    if (ORDER[one.verdict ?? "none"] < ORDER[mark.verdict]) mark.verdict = one.verdict;
  }
  const marks = [...found.values()];
  for (const mark of marks) mark.share = mark.total / mark.sightings.length;
  return marks.sort((a, b) => a.share - b.share);
}

function describeMark(mark) {
  const likely = mark.sightings.map((one) => one.probability ?? -1);
  const best = Math.max(...likely);
  const parts = [
    cameraName(mark.camera),
    period(mark.sightings[0].time, mark.sightings.at(-1).time),
    counted(mark.sightings.length, "sighting"),
  ];
  if (best >= 0) parts.push(`at best ${percent(best)}`);
  return parts.join(", ");
}

function moveFocus(event, marks, buttons) {
  const now = buttons.indexOf(document.activeElement);
  if (now < 0) return;
  let next = null;
  if (event.key === "ArrowRight") next = Math.min(buttons.length - 1, now + 1);
  if (event.key === "ArrowLeft") next = Math.max(0, now - 1);
  if (event.key === "Home") next = 0;
  if (event.key === "End") next = buttons.length - 1;
  if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    next = nearestInOtherLane(marks, buttons, now, event.key === "ArrowDown");
  }
  if (next === null) return;
  event.preventDefault();
  buttons[now].tabIndex = -1;
  buttons[next].tabIndex = 0;
  buttons[next].focus();
}

function nearestInOtherLane(marks, buttons, now, isDown) {
  const top = (index) => parseFloat(buttons[index].style.top);
  const others = marks.map((_, index) => index).filter((index) => (isDown ? top(index) > top(now) : top(index) < top(now)));
  if (others.length === 0) return now;
  const cost = (index) => Math.abs(top(index) - top(now)) * 1000 + Math.abs(marks[index].share - marks[now].share);
  return others.reduce((best, index) => (cost(index) < cost(best) ? index : best));
}

function ticks(first, span, room) {
  const most = Math.max(2, Math.floor(room / 90));
  const step = 1000 * (STEPS.find((seconds) => span / (1000 * seconds) <= most) ?? Math.ceil(span / most / 86_400_000) * 86_400);
  const shift = new Date(first).getTimezoneOffset() * 60_000;
  const begin = Math.ceil((first - shift) / step) * step + shift;
  const found = [];
  for (let at = begin; at <= first + span; at += step) found.push({ at, label: tickLabel(at, step) });
  return found;
}

function compareCameras(one, other) {
  return (one ?? "\uffff").localeCompare(other ?? "\uffff", "en", { numeric: true });
}

