/** Decisions about people. Each one is announced with a button that takes it back. */

import { postJson } from "./api.js";
import { announce, announceError } from "./messages.js";
import { markChanged } from "./session.js";
import { counted } from "./texts.js";

/**
 * Take a decision, and offer to undo it.
 * @param {object} decision The body for /v1/decisions.
 * @param {string} text What is announced.
 * @param {function} afterwards Called when it is done, and again when it is undone.
 * @returns {Promise<object|null>} The decision; null if it was refused.
 */
export async function decide(decision, text, afterwards = () => {}) {
  try {
    const made = await postJson("/v1/decisions", decision);
    await markChanged();
    announce(text, { label: "Undo", call: () => undo(made.event, afterwards) });
    await afterwards(made);
    return made;
  } catch (error) {
    announceError(error);
    return null;
  }
}

/** Take back a decision by its number. */
export async function undo(event, afterwards = () => {}) {
  try {
    await postJson("/v1/decisions", { kind: "undo", event });
    await markChanged();
    announce(`Decision ${event} is undone.`);
    await afterwards(null);
  } catch (error) {
    announceError(error);
  }
}

/** What a decision did, in words. */
export function describeDecision({ kind, details, evidence }) {
  const sightings = details.sightings ?? [];
  switch (kind) {
    case "assign":
      return details.person === null
        ? `${counted(sightings.length, "sighting")} given to nobody`
        : `${counted(sightings.length, "sighting")} given to ${details.person}`;
    case "merge":
      return `${details.people.join(", ")} merged into ${details.person}`;
    case "split":
      return `${counted(sightings.length, "sighting")} split off as ${details.name ?? details.person ?? "a new person"}`;
    case "rename":
      return `${details.person} renamed to ${details.name}`;
    case "differ":
      return `Sightings ${sightings.join(" and ")} show different people`;
    case "cluster":
      return `${counted(sightings.flat().length, "sighting")} grouped into ${counted(sightings.length, "person", "people")}`;
    case "undo":
      return `Decision ${details.event} undone`;
    default:
      return `${kind}${evidence?.sightings ? ` of sightings ${evidence.sightings.join(" and ")}` : ""}`;
  }
}

