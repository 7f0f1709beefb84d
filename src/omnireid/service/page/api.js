/** Requests to the service. The token is kept for this tab only, and travels in a header. */

const TOKEN = "omnireid-token";
const ROLES = ["read", "write", "erase", "admin"];
const MOST_TRIES = 4;

/** What the service answered instead of a result. */
export class ServiceError extends Error {
  constructor(status, code, message, requestId) {
    super(message);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
  }
}

export function keepToken(token) {
  if (token === null) sessionStorage.removeItem(TOKEN);
  else sessionStorage.setItem(TOKEN, token);
}

export function hasToken() {
  return sessionStorage.getItem(TOKEN) !== null;
}

/** Whether a role includes another. */
export function includesRole(role, needed) {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

/** The address of a route with its parameters; lists become repeated parameters, null is left out. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export async function getJson(path, parameters = {}, signal = undefined) {
  return (await send(address(path, parameters), { signal })).json();
}

export async function getText(path) {
  return (await send(path, {})).text();
}

export async function getBlob(path, signal = undefined) {
  return (await send(path, { signal })).blob();
}

export async function postJson(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await send(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

/** Send a form; fields that are null or empty are left out, lists are repeated. */
export async function postForm(path, fields, signal = undefined) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") form.append(name, one);
    }
  }
  return (await send(path, { method: "POST", body: form, signal })).json();
}

async function send(path, options, tries = 1) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, "Unreachable", "The service does not answer. Is it still running?", null);
  }
  if (response.ok) return response;
  const isSafe = (options.method ?? "GET") === "GET";
  if (response.status === 429 && isSafe && tries < MOST_TRIES) {
    await pause(1000 * Math.min(5, Number(response.headers.get("Retry-After")) || 1));
    return send(path, options, tries + 1);
  }
  const body = await response.json().catch(() => ({}));
  const error = new ServiceError(
    response.status, body.code ?? "ServiceError", body.message ?? `The service answered ${response.status}.`, body.request_id ?? null
  );
  if (response.status === 401) dispatchEvent(new CustomEvent("omnireid:signed-out", { detail: error }));
  throw error;
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
