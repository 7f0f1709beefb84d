/** Numbers, times and names as people read them. Times are shown in the zone of the browser. */

const COUNT = new Intl.NumberFormat("en-GB");
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SHORT_CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const HOUR_MS = 3_600_000;

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
export const VERDICTS = { same: "Same", ask: "Ask", new: "New" };

/** A whole number with its noun: "1 sighting", "1,200 sightings". */
export function counted(number, one, several = `${one}s`) {
  return `${COUNT.format(number)} ${number === 1 ? one : several}`;
}

export function number(value) {
  return COUNT.format(value);
}

/** "2 Mar 2026, 09:15:07". */
export function fullTime(time) {
  return time === null ? "Time not known" : `${DATE.format(new Date(time))}, ${CLOCK.format(new Date(time))}`;
}

/** "2 Mar, 09:15:07". */
export function shortTime(time) {
  return time === null ? "Time not known" : `${DAY.format(new Date(time))}, ${CLOCK.format(new Date(time))}`;
}

/** Label of a tick on an axis: a day or a clock time, whichever the step needs. */
export function tickLabel(milliseconds, step) {
  if (step >= 86_400_000) return DAY.format(milliseconds);
  return (step < 60_000 ? CLOCK : SHORT_CLOCK).format(milliseconds);
}

/** "2 Mar 2026, 09:15 to 10:40": the days once, and seconds only for what took less than an hour. */
export function period(first, last) {
  if (first === null) return "Times not known";
  if (last === null || first === last) return fullTime(first);
  const [one, other] = [new Date(first), new Date(last)];
  if (DATE.format(one) === DATE.format(other)) {
    const clock = other - one < HOUR_MS ? CLOCK : SHORT_CLOCK;
    return `${DATE.format(one)}, ${clock.format(one)} to ${clock.format(other)}`;
  }
  return `${DATE.format(one)}, ${SHORT_CLOCK.format(one)} to ${DATE.format(other)}, ${SHORT_CLOCK.format(other)}`;
}

/** A probability as a percentage that is never rounded up to certainty. */
export function percent(probability) {
  if (probability > 0.995 && probability < 1) return "> 99 %";
  if (probability < 0.005 && probability > 0) return "< 1 %";
  return `${Math.round(100 * probability)} %`;
}

export function bytes(count) {
  if (count === null) return null;
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return `${(count / 1000 ** power).toFixed(power && count / 1000 ** power < 10 ? 1 : 0)} ${units[power]}`;
}

export function cameraName(camera) {
  if (camera === null) return "Camera not known";
  return /^\d+$/.test(camera) ? `Camera ${camera}` : camera;
}

export function personName(person) {
  return person === null ? "Nobody named" : person;
}

/** What a screen reader says of a sighting. */
export function describeSighting(sighting) {
  const parts = [personName(sighting.person), cameraName(sighting.camera), fullTime(sighting.time)];
  if (sighting.probability !== null && sighting.probability !== undefined) {
    parts.unshift(`${percent(sighting.probability)}, ${VERDICTS[sighting.verdict]}`);
  }
  return parts.join(", ");
}

/** Address of a person's page. */
export function personAddress(person) {
  return `#/person/${encodeURIComponent(person)}`;
}
