// The signals around what is selected: unpacked when first looked at, 120 s at a time.
const signalCanvas = document.getElementById("signals");
const signalBox = document.getElementById("signal-box");
const spanSelect = document.getElementById("signal-span");
const allChannels = document.getElementById("all-channels");
const LANE = 58;
const SIGNAL_TOP = 46;
const window_ = { from: 0, to: 60, open: false };
let packed = null;
let gain = 1;
const unpacked = new Map();

const channels = () => (packed ??= JSON.parse(document.getElementById("signals-data").textContent));
const signalSpan = () => (window_.open ? window_ : null);

const unpack = async (channel, k) => {
  const stream = new Blob([bytes(channel.blocks[k])]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const samples = new Int8Array(await new Response(stream).arrayBuffer());
  for (let n = 1; n < samples.length; n++) samples[n] += samples[n - 1]; // differences, modulo 256
  return samples;
};
// The samples of a block; null until they are there, or where they were left out.
const blockOf = (channel, k) => {
  if (!channel.blocks[k]) return null;
  const key = `${channel.slot} ${k}`;
  if (!unpacked.has(key)) {
    unpacked.set(key, null);
    unpack(channel, k).then((samples) => { unpacked.set(key, samples); drawSignals(); });
  }
  return unpacked.get(key);
};

// Seconds [from, to] of a channel as values, NaN where there is none.
const valuesOf = (channel, from, to) => {
  const first = Math.max(Math.floor(from * channel.hz), 0), n = channel.block * channel.hz;
  const values = new Float32Array(Math.max(Math.ceil(to * channel.hz) - first, 0)).fill(NaN);
  for (let k = Math.floor(first / n); k * n < first + values.length; k++) {
    const samples = blockOf(channel, k);
    if (!samples) continue;
    for (let s = Math.max(first, k * n); s < Math.min(first + values.length, k * n + samples.length); s++) {
      const value = samples[s - k * n];
      if (value !== -128) values[s - first] = channel.offset + channel.step * value;
    }
  }
  return { first, values };
};

const decidingSlots = () => {
  if (selection?.event) return data.lanes[selection.event.lane].slots;
  return selection?.difference ? selection.difference.slots : data.stagedBy;
};
const shownChannels = () => {
  const slots = decidingSlots(), own = channels().filter((channel) => slots.includes(channel.slot));
  return allChannels.checked || !own.length ? channels() : own;
};

const drawSignals = () => {
  if (!window_.open) return;
  const shown = shownChannels(), height = SIGNAL_TOP + LANE * shown.length + 6;
  const [context, width] = prepared(signalCanvas, height);
  const left = gutter(width), pen = new Pen(context, left, width - left - 8, window_.from, window_.to);
  drawTicks(pen, 8, height, 70);
  drawEpochs(pen, height);
  context.save();
  context.beginPath();
  context.rect(left, SIGNAL_TOP, pen.width, height);
  context.clip();
  const near = [...events, ...givenEvents].filter((e) => e.end > window_.from && e.onset < window_.to);
  shown.forEach((channel, n) => {
    const top = SIGNAL_TOP + n * LANE;
    pen.line(left, top + LANE, pen.right, top + LANE, colours.faint);
    for (const event of near) if (data.lanes[event.lane].slots.includes(channel.slot)) drawSpan(pen, event, top);
    drawChannel(pen, channel, top);
  });
  context.restore();
  const slots = decidingSlots();
  shown.forEach((channel, n) => {
    const y = SIGNAL_TOP + (n + 0.5) * LANE;
    const style = slots.includes(channel.slot) ? "600 12px" : "12px";
    pen.label(channel.slot.replace("_", " "), y - 7, colours.ink, style);
    pen.label(channel.unit === "%" ? "%" : `±${Number((channel.reach / gain).toPrecision(2))} ${channel.unit}`, y + 8, colours.soft, "10px");
  });
};

const drawSpan = (pen, event, top) => {
  const chosen = selection?.event === event;
  pen.context.globalAlpha = chosen ? 0.34 : 0.16;
  if (event.mine) pen.span(event.onset, event.end, top + 1, LANE - 2, colours[data.lanes[event.lane].kind], 2);
  pen.context.globalAlpha = 1;
  if (!event.mine || chosen) {
    pen.context.strokeStyle = colours.ink;
    pen.context.lineWidth = chosen ? 1.6 : 1;
    pen.context.setLineDash(event.mine ? [] : [4, 3]);
    pen.context.strokeRect(pen.x(event.onset), top + 2.5, Math.max(pen.x(event.end) - pen.x(event.onset), 2), LANE - 5);
    pen.context.setLineDash([]);
  }
};

const drawChannel = (pen, channel, top) => {
  const { first, values } = valuesOf(channel, window_.from, window_.to);
  const known = values.filter((value) => value === value);
  if (!known.length) {
    const loading = channel.blocks.slice(Math.floor(window_.from / channel.block), Math.floor(window_.to / channel.block) + 1).some(Boolean);
    if (!loading) pen.text("left out here, see below", pen.left + 6, top + LANE / 2, colours.soft, "left", "italic 11px");
    return;
  }
  let centre = channel.offset && known.reduce((a, b) => a + b) / known.length;
  let reach = channel.reach / gain;
  if (channel.unit === "%") {
    const [low, high] = [Math.min(...known), Math.max(...known)];
    [centre, reach] = [(low + high) / 2, Math.max((high - low) / 2 + 1, 3)];
  }
  const y = (value) => top + LANE / 2 - ((value - centre) / reach) * (LANE / 2 - 4);
  const shifted = new Pen(pen.context, pen.left, pen.width, pen.from - (first - 0.5) / channel.hz, pen.to - (first - 0.5) / channel.hz);
  shifted.curve(values, 1 / channel.hz, y, channel.unit === "%" ? colours.desaturation ?? colours.accent : colours.ink);
  if (channel.unit === "%") pen.text(`${Math.min(...known)}–${Math.max(...known)} %`, pen.right - 4, top + 9, colours.soft, "right");
};

// Epochs and their stages, above the signals.
const drawEpochs = (pen, height) => {
  for (let epoch = Math.floor(pen.from / EPOCH_S); epoch * EPOCH_S < pen.to && epoch < stages.length; epoch++) {
    const start = epoch * EPOCH_S, code = stages[epoch];
    pen.span(start, start + EPOCH_S, 18, 5, code < 0 ? colours.faint : colours[data.stageNames[code]]);
    if (start >= pen.from) pen.line(pen.x(start), 18, pen.x(start), height, colours.rule);
    const words = given && given[epoch] !== code ? `${stageName(code)} (given ${stageName(given[epoch])})` : stageName(code);
    const middle = (Math.max(pen.x(start), pen.left) + Math.min(pen.x(start + EPOCH_S), pen.right)) / 2;
    const room = (pen.width * EPOCH_S) / (pen.to - pen.from);
    if (room > 34) pen.text(room > 120 ? words : stageName(code), middle, 33, colours.soft, "center");
  }
};

const showSignals = (middle) => {
  const span = Math.min(Number(spanSelect.value), data.duration);
  // Around a time the page of a scorer begins with its epoch; around an event it lies in the middle.
  const from = selection?.second !== undefined && span >= EPOCH_S ? Math.floor(middle / span) * span : middle - span / 2;
  window_.from = Math.min(Math.max(from, 0), data.duration - span);
  window_.to = window_.from + span;
  window_.open = true;
  signalBox.hidden = false;
  drawSignals();
  redraw();
};
const moveSignals = (share) => {
  const span = window_.to - window_.from;
  window_.from = Math.min(Math.max(window_.from + share * span, 0), data.duration - span);
  window_.to = window_.from + span;
  bringIntoView(window_.from, window_.to);
  drawSignals();
};
const setGain = (factor) => { gain = Math.min(Math.max(gain * factor, 0.1), 20); drawSignals(); };

let pull = null;
signalCanvas.addEventListener("pointerdown", (event) => {
  signalCanvas.setPointerCapture(event.pointerId);
  pull = { x: event.clientX, from: window_.from };
});
signalCanvas.addEventListener("pointermove", (event) => {
  if (!pull) return;
  const span = window_.to - window_.from, inner = signalCanvas.clientWidth - gutter(signalCanvas.clientWidth) - 8;
  const target = pull.from - ((event.clientX - pull.x) / inner) * span;
  moveSignals((target - window_.from) / span);
});
for (const end of ["pointerup", "pointercancel"]) signalCanvas.addEventListener(end, () => { pull = null; });
