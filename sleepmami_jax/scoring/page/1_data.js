// The night as `scoring/axis.py` wrote it. Words of files reach the page as text of nodes or of a canvas, never as markup.
const data = JSON.parse(document.getElementById("night-data").textContent);
const EPOCH_S = 30;

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const signed = (text) => (text === null ? null : new Int8Array(bytes(text).buffer));
const words16 = (text) => {
  const view = new DataView(bytes(text).buffer);
  return Uint16Array.from({ length: view.byteLength / 2 }, (_, k) => view.getUint16(2 * k, true));
};

const stages = signed(data.stages);
const given = signed(data.given);
const probs = bytes(data.probs);
const risk = data.risk === null ? null : Float32Array.from(bytes(data.risk), (value) => value / 200);
const tracks = data.tracks.map((track) => {
  const values = Float32Array.from(words16(track.values), (value) => (value === 0xffff ? NaN : track.lowest + track.step * value));
  let highest = -Infinity;
  for (const value of values) if (value > highest) highest = value;
  return { ...track, values, highest };
});

// One object an event, ours first, then those of the scoring given.
const listed = (source, mine) =>
  source.onset.map((onset, k) => ({
    index: k, mine, onset, duration: source.duration[k], end: onset + source.duration[k], lane: source.lane[k],
    title: source.title[k], probability: mine ? source.probability[k] : null, links: mine ? source.links[k] : [],
    countsAs: mine ? source.countsAs[k] : "", whyNot: mine ? source.whyNot[k] : "",
  }));
const events = listed(data.events, true);
const givenEvents = listed(data.givenEvents, false);
const differences = data.differences.map(([onset, duration, words, task, slots]) => ({ onset, duration, end: onset + duration, words, task, slots }));

const runsOf = (codes) => {
  const found = [];
  for (let start = 0, k = 1; codes && k <= codes.length; k++) {
    if (k === codes.length || codes[k] !== codes[start]) {
      found.push({ start: start * EPOCH_S, stop: k * EPOCH_S, code: codes[start] });
      start = k;
    }
  }
  return found;
};
const unsureRuns = risk === null ? [] : runsOf(Int8Array.from(risk, (value, k) => (value >= 0.5 && stages[k] >= 0 ? 1 : 0))).filter((run) => run.code);
const stageName = (code) => (code >= 0 ? data.stageNames[code] : "not scored");
const stageAt = (codes, second) => stageName(codes[Math.min(Math.floor(second / EPOCH_S), codes.length - 1)]);

// Seconds as a clock: of the day where the recording says when it began, else since its start.
const two = (number) => String(number).padStart(2, "0");
const clock = (second, withSeconds = true) => {
  const whole = Math.floor(second) + (data.start ?? 0);
  const hours = Math.floor(whole / 3600);
  const hour = data.start === null ? String(hours) : two(hours % 24);
  return `${hour}:${two(Math.floor(whole / 60) % 60)}${withSeconds ? `:${two(whole % 60)}` : ""}`;
};
const seconds = (value) => `${Number(value.toFixed(value < 10 ? 1 : 0))} s`;

// Colours stand in the style sheet alone; a canvas asks for them anew when light turns to dark.
let colours = {};
const readColours = () => {
  const style = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of ["paper", "card", "ink", "soft", "rule", "faint", "accent", "bad", "unsure", "differ", "event",
    ...data.stageNames, ...data.lanes.map((lane) => lane.kind)]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim() || style.getPropertyValue("--event").trim();
  }
};
