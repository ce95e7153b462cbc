// The picture of the night: what span of it is in view, how it is drawn, and what wheel, pointer and keys do to it.
const canvas = document.getElementById("night");
const readout = document.getElementById("readout");
const SHORTEST_S = 30;
const TOP = 44; // the strip of the whole night, and the clock
const STRIP = 16;
const view = { from: 0, to: data.duration };
let selection = null; // { event } or { difference } or { second }, see 5_steps.js
let hoverX = null;
let printing = false;
let waiting = false;

const totalHeight = lanes.reduce((sum, lane) => sum + TITLE + lane.height + 8, TOP);
const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
const overviewRuns = runsOf(stages);

// A canvas as sharp as the screen, as wide as its box; on paper of a fixed width.
const prepared = (element, height) => {
  const width = printing ? 1040 : Math.max(element.parentElement.clientWidth, 240);
  const ratio = printing ? 1 : window.devicePixelRatio || 1; // on paper a canvas is drawn as lines, not pixels
  if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
    element.width = Math.round(width * ratio);
    element.height = Math.round(height * ratio);
    element.style.height = printing ? "auto" : `${height}px`;
  }
  const context = element.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return [context, width];
};
const gutter = (width) => (width < 560 ? 78 : 104);

const drawTicks = (pen, y, bottom, least) => {
  const step = TICKS.find((s) => ((pen.width * s) / (pen.to - pen.from)) >= least) ?? 28800;
  const start = data.start ?? 0;
  for (let t = Math.ceil((pen.from + start) / step) * step - start; t <= pen.to; t += step) {
    const x = pen.x(t);
    pen.line(x, y + 8, x, bottom, colours.faint);
    pen.text(clock(t, step < 60), x, y, colours.soft, "center");
  }
};

const drawNight = () => {
  waiting = false;
  const [context, width] = prepared(canvas, totalHeight);
  const left = gutter(width), inner = width - left - 8;
  const strip = new Pen(context, left, inner, 0, data.duration);
  for (const run of overviewRuns) strip.span(run.start, run.stop, 2, STRIP - 4, run.code < 0 ? colours.faint : colours[data.stageNames[run.code]]);
  strip.label("Whole night", STRIP / 2);
  context.strokeStyle = colours.ink;
  context.lineWidth = 1.5;
  context.strokeRect(strip.x(view.from), 0.75, Math.max(strip.x(view.to) - strip.x(view.from), 3), STRIP - 1.5);

  const pen = new Pen(context, left, inner, view.from, view.to);
  drawTicks(pen, STRIP + 14, totalHeight, 64);
  let top = TOP;
  for (const lane of lanes) {
    pen.text(lane.title, left, top + 9, colours.ink, "left", "600 12px");
    pen.top = lane.top = top + TITLE;
    lane.labels(pen);
    context.save();
    context.beginPath();
    context.rect(left, pen.top - 2, inner, lane.height + 4);
    context.clip();
    lane.draw(pen);
    context.restore();
    top = pen.top + lane.height + 8;
  }
  drawMarks(pen);
};

const drawMarks = (pen) => {
  const lights = [["lights off", data.lights[0]], ["lights on", data.lights[1]]];
  for (const [words, second] of lights) {
    if (second === null || second < view.from || second > view.to) continue;
    pen.line(pen.x(second), STRIP + 22, pen.x(second), totalHeight, colours.accent, 1.5);
    pen.text(words, pen.x(second) + (words.endsWith("off") ? 4 : -4), STRIP + 25, colours.accent, words.endsWith("off") ? "left" : "right");
  }
  const shown = signalSpan();
  if (shown && !printing) {
    pen.context.globalAlpha = 0.16;
    pen.span(shown.from, shown.to, STRIP + 20, totalHeight, colours.accent, 2);
    pen.context.globalAlpha = 1;
  }
  if (hoverX !== null && !printing) pen.line(hoverX, STRIP + 20, hoverX, totalHeight, colours.soft, 0.7);
};

const redraw = () => {
  if (!waiting) requestAnimationFrame(drawNight);
  waiting = true;
};

const look = (from, to) => {
  const span = Math.min(Math.max(to - from, SHORTEST_S), data.duration);
  view.from = Math.min(Math.max(from, 0), data.duration - span);
  view.to = view.from + span;
  redraw();
};
// What is selected stays in view; else the middle does.
const centre = () => {
  const chosen = selection?.event?.onset ?? selection?.difference?.onset ?? selection?.second;
  return chosen >= view.from && chosen <= view.to ? chosen : (view.from + view.to) / 2;
};
const zoom = (factor, about = centre()) => look(about - (about - view.from) * factor, about + (view.to - about) * factor);
const pan = (share) => look(view.from + share * (view.to - view.from), view.to + share * (view.to - view.from));
const wholeNight = () => look(0, data.duration);
const bringIntoView = (from, to) => {
  if (from >= view.from && to <= view.to) return redraw();
  const span = view.to - view.from, middle = (from + to) / 2;
  look(middle - span / 2, middle + span / 2);
};

const place = (event, alongStrip = false) => {
  const box = canvas.getBoundingClientRect();
  const width = box.width, left = gutter(width);
  const x = event.clientX - box.left, y = event.clientY - box.top;
  const pen = new Pen(canvas.getContext("2d"), left, width - left - 8, view.from, view.to);
  const inStrip = alongStrip || y < STRIP + 4;
  const share = Math.min(Math.max((x - left) / pen.width, 0), 1);
  return { x, y, pen, inStrip, second: inStrip ? share * data.duration : view.from + share * (view.to - view.from), inside: x >= left - 2 };
};

// What a place of the night says, in words.
const describe = (second) => {
  const parts = [`${clock(second)}`];
  if (data.start !== null) parts.push(`${Math.floor(second)} s from the start`);
  const epoch = Math.min(Math.floor(second / EPOCH_S), stages.length - 1);
  const code = stages[epoch];
  let staged = `epoch ${epoch + 1}: ${stageName(code)}`;
  if (code >= 0) staged += ` with probability ${(probs[5 * epoch + code] / 255).toFixed(2)}`;
  if (risk && code >= 0) staged += `, ${Math.round(100 * risk[epoch])} % chance of being wrong`;
  if (given) staged += `, given ${stageName(given[epoch])}`;
  parts.push(staged);
  for (const track of tracks) {
    const value = track.values[Math.floor(second / track.every)];
    if (value === value) parts.push(`${track.title} ${Number(value.toFixed(1))}${track.unit ? ` ${track.unit}` : ""}`);
  }
  for (const channel of data.quality) {
    const fault = channel.runs.find(([start, stop]) => second >= start && second < stop);
    if (fault) parts.push(`${channel.slot} ${data.faults.filter((_, bit) => fault[2] & (1 << bit)).join(" and ")}`);
  }
  return parts.join(" · ");
};

const pointers = new Map();
let drag = null;
const hover = (event) => {
  const at = place(event);
  hoverX = at.inside && !at.inStrip ? at.x : null;
  const found = at.inside && at.y >= eventLane.top ? eventLane.hit(at.x, at.y - 0, Object.assign(at.pen, { top: eventLane.top }), 4) : null;
  canvas.style.cursor = drag ? "grabbing" : found ? "pointer" : "crosshair";
  readout.textContent = found ? `${eventWords(found)} · ${describe(found.onset)}` : at.inside ? describe(at.second) : readout.textContent;
  redraw();
};
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  const at = place(event);
  drag = { x: event.clientX, from: view.from, to: view.to, moved: false, at, distance: spread() };
  if (at.inStrip) look(at.second - (view.to - view.from) / 2, at.second + (view.to - view.from) / 2);
});
const spread = () => {
  const [one, other] = [...pointers.values()];
  return other ? Math.max(Math.abs(one.clientX - other.clientX), 10) : 0;
};
canvas.addEventListener("pointermove", (event) => {
  if (!drag || !pointers.has(event.pointerId)) return hover(event);
  pointers.set(event.pointerId, event);
  const span = drag.to - drag.from, inner = drag.at.pen.width;
  if (Math.abs(event.clientX - drag.x) > 4) drag.moved = true;
  if (!drag.moved) return;
  if (pointers.size === 2) {
    const factor = drag.distance / spread();
    look(drag.at.second - (drag.at.second - drag.from) * factor, drag.at.second + (drag.to - drag.at.second) * factor);
  } else if (drag.at.inStrip) {
    const { second } = place(event, true); // along the strip, wherever the finger strays
    look(second - span / 2, second + span / 2);
  } else {
    const moved = ((event.clientX - drag.x) / inner) * span;
    look(drag.from - moved, drag.to - moved);
  }
  canvas.style.cursor = "grabbing";
});
canvas.addEventListener("pointerup", (event) => {
  pointers.delete(event.pointerId);
  if (drag && !drag.moved && !drag.at.inStrip && drag.at.inside) {
    const at = place(event);
    const slack = event.pointerType === "touch" ? 14 : 4;
    const found = eventLane.hit(at.x, at.y, Object.assign(at.pen, { top: eventLane.top }), slack);
    select(found ? { event: found } : { second: at.second });
  }
  drag = null;
});
canvas.addEventListener("pointercancel", (event) => { pointers.delete(event.pointerId); drag = null; });
canvas.addEventListener("pointerleave", () => { hoverX = null; redraw(); });
canvas.addEventListener("dblclick", (event) => zoom(0.4, place(event).second));
// The wheel scrolls the page until the picture was clicked or Ctrl is held: nobody is caught in it by passing.
canvas.addEventListener("wheel", (event) => {
  const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
  if (!sideways && !event.ctrlKey && document.activeElement !== canvas) return;
  event.preventDefault();
  if (sideways) pan((event.deltaX || event.deltaY) / 1000);
  else zoom(Math.exp(Math.max(Math.min(event.deltaY, 120), -120) * 0.003), place(event).second);
}, { passive: false });
