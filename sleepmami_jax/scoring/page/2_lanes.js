// What is drawn on the axis of the night, a lane each: { title, height, draw(pen) }. `pen` maps seconds to pixels and holds
// the canvas, the span in view and the lane's top.
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif";
const ROW = 15;

class Pen {
  constructor(context, left, width, from, to) {
    Object.assign(this, { context, left, width, from, to, right: left + width, top: 0, height: 0 });
  }
  x(second) { return this.left + ((second - this.from) / (this.to - this.from)) * this.width; }
  span(start, stop, y, height, colour, least = 0) {
    if (stop < this.from || start > this.to) return;
    const x = Math.max(this.x(start), this.left);
    const right = Math.min(this.x(stop), this.right);
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, Math.max(right - x, least), height);
  }
  line(x1, y1, x2, y2, colour, width = 1) {
    const context = this.context;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
  }
  text(words, x, y, colour, align = "left", style = "11px", most = undefined) {
    const context = this.context;
    context.font = `${style} ${FONT}`;
    context.fillStyle = colour;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillText(words, x, y, most); // squeezed where it is wider than `most`
  }
  label(words, y, colour = colours.soft, style = this.left < 100 ? "10px" : "11px") {
    this.text(words, this.left - 6, y, colour, "right", style, this.left - 8);
  }
  // Values of one every so many seconds: a line, or where several fall on a pixel their range.
  curve(values, every, y, colour) {
    const context = this.context;
    const first = Math.max(Math.floor(this.from / every), 0);
    const last = Math.min(Math.ceil(this.to / every), values.length - 1);
    const perPixel = (this.to - this.from) / every / this.width;
    context.strokeStyle = colour;
    context.lineWidth = perPixel > 2 ? 1 : 1.3;
    context.beginPath();
    let drawing = false;
    for (let k = first; k <= last; ) {
      const pixel = perPixel > 2 ? Math.floor(this.x((k + 0.5) * every)) : NaN;
      let low = values[k], high = values[k], stop = k + 1;
      while (stop <= last && Math.floor(this.x((stop + 0.5) * every)) === pixel) {
        if (values[stop] < low || low !== low) low = values[stop];
        if (values[stop] > high || high !== high) high = values[stop];
        stop++;
      }
      if (high === high) {
        const x = Number.isNaN(pixel) ? this.x((k + 0.5) * every) : pixel + 0.5;
        context[drawing ? "lineTo" : "moveTo"](x, y(high));
        context.lineTo(x, y(low) + (drawing ? 0 : 0.5));
      }
      drawing = high === high;
      k = stop;
    }
    context.stroke();
  }
}

// The lane's title stands above it, so that a narrow page has the same words.
const TITLE = 20;

const hypnogram = (title, codes, shaded, marked) => ({
  title, height: ROW * data.stageOrder.length + (marked ? 6 : 0),
  runs: runsOf(codes),
  draw(pen) {
    const level = (code) => pen.top + (data.stageOrder.indexOf(code) + 0.5) * ROW;
    for (const code of data.stageOrder) pen.line(pen.left, level(code), pen.right, level(code), colours.faint);
    for (const run of shaded) pen.span(run.start, run.stop, pen.top, ROW * 5, colours.unsure, 1);
    let before = null;
    for (const run of this.runs) {
      if (run.code < 0) pen.span(run.start, run.stop, pen.top, ROW * 5, colours.faint);
      else if (before !== null && before.code >= 0 && run.start >= pen.from && run.start <= pen.to) {
        pen.line(pen.x(run.start), level(before.code), pen.x(run.start), level(run.code), colours.soft, 0.8);
      }
      before = run;
    }
    for (const run of this.runs) if (run.code >= 0) pen.span(run.start, run.stop, level(run.code) - 4, 8, colours[data.stageNames[run.code]], 1);
    if (marked) for (const one of differences) if (one.task === "stages") pen.span(one.onset, one.end, pen.top + ROW * 5 + 1, 4, colours.differ, 1);
  },
  labels(pen) {
    for (const code of data.stageOrder) pen.label(data.stageNames[code], pen.top + (data.stageOrder.indexOf(code) + 0.5) * ROW);
  },
});

const density = {
  title: "Stage probabilities", height: 56, image: null,
  paint() { // once: a column an epoch, stretched when drawn
    const n = stages.length, canvas = document.createElement("canvas");
    canvas.width = n;
    canvas.height = 100;
    const context = canvas.getContext("2d");
    for (let epoch = 0; epoch < n; epoch++) {
      if (stages[epoch] < 0) continue;
      let total = 0, below = 0;
      for (let code = 0; code < 5; code++) total += probs[5 * epoch + code];
      for (const code of data.stageOrder) {
        const share = (100 * probs[5 * epoch + code]) / total;
        context.fillStyle = colours[data.stageNames[code]];
        context.fillRect(epoch, below, 1, share + 1);
        below += share;
      }
    }
    this.image = canvas;
  },
  draw(pen) {
    if (this.image === null) this.paint();
    pen.context.imageSmoothingEnabled = false;
    const first = pen.from / EPOCH_S, n = (pen.to - pen.from) / EPOCH_S;
    pen.context.drawImage(this.image, first, 0, n, 100, pen.left, pen.top, pen.width, this.height);
  },
  labels(pen) {
    pen.label("100 %", pen.top + 5);
    pen.label("0", pen.top + this.height - 5);
  },
};

const chance = risk && {
  title: "Chance that the stage is wrong", height: 34,
  draw(pen) {
    const y = (share) => pen.top + this.height * (1 - share);
    for (const run of unsureRuns) pen.span(run.start, run.stop, pen.top, this.height, colours.unsure, 1);
    pen.line(pen.left, y(0), pen.right, y(0), colours.faint);
    pen.context.setLineDash([3, 3]);
    pen.line(pen.left, y(0.5), pen.right, y(0.5), colours.soft, 0.8);
    pen.context.setLineDash([]);
    const known = Float32Array.from(risk, (value, epoch) => (stages[epoch] < 0 ? NaN : value));
    pen.curve(known, EPOCH_S, y, colours.ink);
  },
  labels(pen) {
    pen.label("50 %", pen.top + this.height / 2);
    pen.label("0", pen.top + this.height - 4);
  },
};

const eventLanes = () => {
  const rows = data.lanes.map((lane, n) => ({
    lane, ours: events.filter((e) => e.lane === n), theirs: givenEvents.filter((e) => e.lane === n),
  }));
  let height = 0;
  for (const row of rows) {
    row.y = height;
    height += row.height = row.theirs.length ? 26 : 17;
  }
  return {
    title: givenEvents.length ? "Events, and below them those given" : "Events", height, rows,
    draw(pen) {
      for (const row of rows) {
        const y = pen.top + row.y;
        pen.line(pen.left, y + 8, pen.right, y + 8, colours.faint);
        if (row.lane.absent) {
          pen.text(`not available: ${row.lane.absent}`, pen.left + 6, y + 8, colours.soft, "left", "italic 11px");
        } else for (const [start, stop] of row.lane.unmonitored) pen.span(start, stop, y + 1, row.height - 2, colours.faint);
        for (const event of row.ours) pen.span(event.onset, event.end, y + 3, 10, colours[row.lane.kind], 1.2);
        for (const event of row.theirs) {
          if (event.end < pen.from || event.onset > pen.to) continue;
          const x = pen.x(event.onset), width = pen.x(event.end) - x;
          if (width < 4) { pen.span(event.onset, event.end, y + 15, 8, colours.soft, 1); continue; }
          pen.context.strokeStyle = colours.soft;
          pen.context.lineWidth = 1;
          pen.context.strokeRect(x + 0.5, y + 15.5, width - 1, 7);
        }
        const chosen = selection && selection.event && selection.event.lane === row.lane.index ? selection.event : null;
        if (chosen) {
          const x = pen.x(chosen.onset);
          pen.context.strokeStyle = colours.ink;
          pen.context.lineWidth = 2;
          pen.context.strokeRect(x - 2, y + (chosen.mine ? 1 : 14), Math.max(pen.x(chosen.end) - x, 1.2) + 4, chosen.mine ? 14 : 10);
        }
      }
    },
    labels(pen) { for (const row of rows) pen.label(row.lane.title, pen.top + row.y + 8); },
    // The event at a place: the nearest within some pixels, for a finger hits no single pixel.
    hit(x, y, pen, slack) {
      const row = rows.find((r) => y >= pen.top + r.y && y < pen.top + r.y + r.height);
      if (!row) return null;
      const side = row.theirs.length && y - pen.top - row.y >= 14 ? row.theirs : row.ours;
      let best = null, distance = slack;
      for (const event of side) {
        const away = Math.max(pen.x(event.onset) - x, x - pen.x(event.end), 0);
        if (away < distance || (away === 0 && distance === 0)) [best, distance] = [event, away];
      }
      return best;
    },
  };
};

const trackLane = (track) => {
  const isSpo2 = track.unit === "%";
  const low = isSpo2 ? Math.min(85, 5 * Math.floor(track.lowest / 5)) : track.unit ? 5 * Math.floor(track.lowest / 5) : track.lowest - 0.5;
  const high = isSpo2 ? 100 : track.unit ? 5 * Math.ceil(track.highest / 5) : track.highest + 0.5;
  return {
    title: track.unit ? `${track.title} (${track.unit})` : track.title, height: 44,
    draw(pen) {
      const y = (value) => pen.top + this.height * (1 - (value - low) / (high - low));
      for (const value of isSpo2 ? [90, high] : [low, high]) pen.line(pen.left, y(value), pen.right, y(value), colours.faint);
      pen.curve(track.values, track.every, y, isSpo2 ? colours.desaturation : colours.accent);
    },
    labels(pen) {
      if (!track.unit) return;
      pen.label(String(high), pen.top + 4);
      if (isSpo2) pen.label("90", pen.top + this.height * (1 - (90 - low) / (high - low)));
      pen.label(String(low), pen.top + this.height - 3);
    },
  };
};

const qualityLane = {
  title: "Usable signal, and where it is not", height: 11 * data.quality.length + (data.missing.length ? 15 : 0),
  draw(pen) {
    data.quality.forEach((channel, n) => {
      const y = pen.top + 11 * n;
      pen.span(0, data.duration, y + 4, 2, colours.rule);
      for (const [start, stop] of channel.runs) pen.span(start, stop, y + 1, 8, colours.bad, 1);
    });
    if (data.missing.length) pen.text(`not in this recording: ${data.missing.join(", ")}`, pen.left + 6, pen.top + this.height - 7, colours.soft, "left", "italic 11px");
  },
  labels(pen) { data.quality.forEach((channel, n) => pen.label(channel.slot.replace("_", " "), pen.top + 11 * n + 5.5, colours.soft, "10px")); },
};

data.lanes.forEach((lane, n) => { lane.index = n; });
const eventLane = eventLanes();
const lanes = [
  hypnogram(risk ? "Hypnogram, shaded where it is unsure" : "Hypnogram", stages, unsureRuns, false),
  ...(given ? [hypnogram("Scoring given, marked where it differs", given, [], true)] : []),
  density, ...(chance ? [chance] : []), eventLane, ...tracks.map(trackLane), ...(data.quality.length ? [qualityLane] : []),
];
