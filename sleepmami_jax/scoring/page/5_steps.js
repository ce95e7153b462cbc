// Selecting: by a click, by steps, from the list; what is said of it; keys; paper.
const live = document.getElementById("live");
const chosenTitle = document.getElementById("chosen-title");
const chosenFacts = document.getElementById("chosen-facts");
const kindSelect = document.getElementById("kind");
const letterKeys = document.getElementById("letter-keys");
const button = (id) => document.getElementById(id);

const make = (name, words, parent) => {
  const element = document.createElement(name);
  element.textContent = words;
  parent?.append(element);
  return element;
};
const eventWords = (event) => `${event.title}${event.mine ? "" : " of the scoring given"}, ${clock(event.onset)}, ${seconds(event.duration)}`;
const overlapping = (event) => (event.mine ? givenEvents : events).filter((e) => e.onset < event.end && e.end > event.onset && e.lane === event.lane);

const factsOf = (chosen) => {
  const facts = [];
  const { event, difference } = chosen;
  if (event) {
    facts.push(["Stage", stageAt(stages, event.onset) + (given ? `, given ${stageAt(given, event.onset)}` : "")]);
    if (event.probability !== null) facts.push(["Probability", event.probability.toFixed(2)]);
    for (const k of event.links) facts.push(["Goes with", events[k]]);
    if (givenEvents.length) {
      const others = overlapping(event);
      if (!others.length) facts.push([event.mine ? "In the scoring given" : "By the model", "nothing here"]);
      for (const other of others) facts.push([other.mine ? "By the model" : "In the scoring given", other]);
    }
    if (event.mine) facts.push(["Counts as", event.countsAs || "nothing"]);
    if (event.whyNot) facts.push(["Not as", event.whyNot]);
    facts.push(["Told from", data.lanes[event.lane].slots.join(", ") || "nothing that this recording has"]);
  } else if (difference) facts.push(["Says", difference.words]);
  const at = event?.onset ?? difference?.onset ?? chosen.second;
  facts.push(["Here", describe(at)]);
  return facts;
};

const select = (chosen) => {
  selection = chosen;
  const { event, difference, second } = chosen;
  const title = event ? eventWords(event) : difference ? `${difference.words}, ${clock(difference.onset)}` : `Time ${clock(second)}`;
  chosenTitle.textContent = title;
  chosenFacts.replaceChildren();
  for (const [word, fact] of factsOf(chosen)) {
    make("dt", word, chosenFacts);
    const item = make("dd", typeof fact === "string" ? fact : "", chosenFacts);
    if (typeof fact !== "string") make("button", eventWords(fact), item).addEventListener("click", () => select({ event: fact }));
  }
  const span = event ?? difference;
  if (span) bringIntoView(span.onset, span.end);
  showSignals(span ? (span.onset + Math.min(span.end, span.onset + 60)) / 2 : second);
  live.textContent = `Selected: ${title}`;
};
const clear = () => {
  selection = null;
  window_.open = false;
  signalBox.hidden = true;
  live.textContent = "Nothing selected";
  redraw();
};

// The next of a list in order of time, from what is selected or from where the view begins.
const step = (list, forward, kind) => {
  if (!list.length) { live.textContent = `No ${kind} on this night`; return; }
  const current = selection?.event ?? selection?.difference;
  let place = list.indexOf(current);
  if (place < 0) {
    const from = current?.onset ?? selection?.second ?? view.from;
    const after = list.findIndex((one) => one.onset > from);
    place = forward ? (after < 0 ? list.length : after) - 1 : after < 0 ? list.length : after;
  }
  const next = (place + (forward ? 1 : -1) + list.length) % list.length;
  select(kind === "difference" ? { difference: list[next] } : { event: list[next] });
  live.textContent = `${kind} ${next + 1} of ${list.length}: ${chosenTitle.textContent}`;
  button(kind === "difference" ? "difference-count" : "event-count").textContent = `${next + 1} of ${list.length}`;
};
const chosenKind = () => (kindSelect.value === "" ? events : events.filter((event) => event.lane === Number(kindSelect.value)));
const stepEvent = (forward) => step(chosenKind(), forward, "event");
const stepDifference = (forward) => step(differences, forward, "difference");

const counts = data.lanes.map((lane, n) => events.filter((event) => event.lane === n).length);
make("option", `all kinds (${events.length})`, kindSelect).value = "";
data.lanes.forEach((lane, n) => { if (counts[n]) make("option", `${lane.title} (${counts[n]})`, kindSelect).value = n; });
for (const group of document.querySelectorAll("[data-needs]")) group.hidden = !(group.dataset.needs === "events" ? events : differences).length;

// A table of the events, made when it is opened: a night may hold thousands.
const table = document.getElementById("event-table");
const fillTable = () => {
  if (!table.closest("details").open) return;
  const body = document.createElement("tbody");
  for (const event of chosenKind()) {
    const row = make("tr", "", body);
    make("button", clock(event.onset), make("td", "", row)).addEventListener("click", () => select({ event }));
    for (const words of [event.title, seconds(event.duration), stageAt(stages, event.onset), event.probability === null ? "measured" : event.probability.toFixed(2)]) make("td", words, row);
  }
  table.tBodies[0].replaceWith(body);
};
table.closest("details").addEventListener("toggle", fillTable);
const rejected = document.getElementById("rejected-table");
const fillRejected = () => {
  const body = document.createElement("tbody");
  for (const [onset, duration, title, why] of data.rejected) {
    const row = make("tr", "", body);
    make("button", clock(onset), make("td", "", row)).addEventListener("click", () => select({ second: onset }));
    for (const words of [title, seconds(duration), stageAt(stages, onset), why]) make("td", words, row);
  }
  rejected.tBodies[0].replaceWith(body);
};
rejected?.closest("details").addEventListener("toggle", fillRejected, { once: true });
kindSelect.addEventListener("change", () => { fillTable(); button("event-count").textContent = ""; });

const actions = {
  "zoom-in": () => zoom(0.5), "zoom-out": () => zoom(2), "whole-night": wholeNight, earlier: () => pan(-0.5), later: () => pan(0.5),
  "next-event": () => stepEvent(true), "previous-event": () => stepEvent(false),
  "next-difference": () => stepDifference(true), "previous-difference": () => stepDifference(false),
  "signals-earlier": () => moveSignals(-1), "signals-later": () => moveSignals(1), "signals-larger": () => setGain(1.5),
  "signals-smaller": () => setGain(1 / 1.5), close: () => { clear(); canvas.focus({ preventScroll: true }); },
};
for (const [id, action] of Object.entries(actions)) button(id).addEventListener("click", action);
spanSelect.addEventListener("change", () => showSignals((window_.from + window_.to) / 2));
allChannels.addEventListener("change", drawSignals);

const pictureKeys = {
  ArrowLeft: () => pan(-0.125), ArrowRight: () => pan(0.125), ArrowUp: () => zoom(0.7), ArrowDown: () => zoom(1 / 0.7),
  PageUp: () => pan(-1), PageDown: () => pan(1), Home: () => look(0, view.to - view.from), End: () => look(data.duration - view.to + view.from, data.duration),
  "+": () => zoom(0.5), "-": () => zoom(2), 0: wholeNight, Enter: () => select({ second: (view.from + view.to) / 2 }),
};
const signalKeys = {
  ArrowLeft: () => moveSignals(-0.25), ArrowRight: () => moveSignals(0.25), ArrowUp: () => setGain(1.25), ArrowDown: () => setGain(0.8),
  PageUp: () => moveSignals(-1), PageDown: () => moveSignals(1),
};
const letters = { n: () => stepDifference(true), p: () => stepDifference(false), e: () => stepEvent(true), E: () => stepEvent(false) };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const own = event.target === canvas ? pictureKeys : event.target === signalCanvas ? signalKeys : {};
  const action = own[event.key] ?? (letterKeys.checked ? letters[event.key] : undefined) ?? (event.key === "Escape" && selection ? clear : undefined);
  if (!action) return;
  event.preventDefault();
  action();
});

const repaint = () => { readColours(); density.image = null; drawNight(); drawSignals(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
new ResizeObserver(() => { redraw(); drawSignals(); }).observe(canvas.parentElement);
const kept = {};
addEventListener("beforeprint", () => {
  Object.assign(kept, view);
  printing = true;
  document.documentElement.classList.add("paper");
  Object.assign(view, { from: 0, to: data.duration });
  repaint();
});
addEventListener("afterprint", () => {
  printing = false;
  document.documentElement.classList.remove("paper");
  Object.assign(view, kept);
  repaint();
});
repaint();
