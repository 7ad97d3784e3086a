// Threads and streams over time, on a canvas: zoom and move with wheel, pointer, keys or buttons.
kinds.time_line = (stage, data) => {
  const events = data.start.length;
  const starts = new Float64Array(events);
  let clock = 0;
  for (let at = 0; at < events; at++) { clock += data.start[at]; starts[at] = clock; }
  const ends = starts.map((start, at) => start + data.long[at]);
  const last = ends.reduce((most, end) => Math.max(most, end), 1);
  const deep = data.tracks.map(() => 0);
  data.track.forEach((track, at) => { deep[track] = Math.max(deep[track], data.depth[at] + 1); });
  const row = 17, label = 16, axis = 20;
  const tops = [];
  let high = axis;
  data.tracks.forEach((_, track) => { tops.push(high + label); high += label + deep[track] * row + 4; });
  let from = 0, to = last, chosen = -1;

  const canvas = make("canvas", { tabIndex: 0, role: "application", "aria-label": "Time line. Plus and minus zoom, arrow keys move, comma and full stop go from event to event, 0 shows all." });
  const said = make("p", { className: "said", role: "status" });
  const range = make("span", {});
  const show = (low, top) => {
    const least = Math.max(last / 1e6, 10), long = Math.min(Math.max(top - low, least), last);
    from = Math.min(Math.max(low, 0), last - long);
    to = from + long;
    range.textContent = `${time(from, last)} to ${time(to, last)}`;
    paint();
  };
  const zoom = (factor, around = (from + to) / 2) => show(around - (around - from) * factor, around + (to - around) * factor);
  const tools = make("div", { className: "tools" }, button("All", () => show(0, last)));
  const named = new Map();
  for (const [name, start, end] of data.phases) if (!named.has(name)) named.set(name, [start, end]);
  for (const [name, [start, end]] of named) {
    const room = (end - start) * 0.02;
    tools.append(button(middle(name, 30), () => show(start - room, end + room)));
  }
  tools.append(button("+", () => zoom(0.5), { "aria-label": "Zoom in" }), button("−", () => zoom(2), { "aria-label": "Zoom out" }),
    button("←", () => show(from - (to - from) / 4, to - (to - from) / 4), { "aria-label": "Earlier" }),
    button("→", () => show(from + (to - from) / 4, to + (to - from) / 4), { "aria-label": "Later" }), range);
  const keys = make("p", { className: "keys" }, "Ctrl and wheel or ", make("kbd", {}, "+"), " ", make("kbd", {}, "−"), " to zoom, drag or ", make("kbd", {}, "←"), " ", make("kbd", {}, "→"), " to move, ",
    make("kbd", {}, ","), " ", make("kbd", {}, "."), " from event to event, ", make("kbd", {}, "0"), " for all.");
  const frame = make("div", { className: "stage" }, canvas);
  stage.append(tools, frame, said, keys);

  const shade = (name) => (name === "prefill" ? "prefill" : name === "decode" ? "decode" : hashed(name));
  const tones = data.names.map(shade);
  let width = 0;
  const x = (ns) => (ns - from) / (to - from) * width;
  const paint = drawn(frame, (wide) => {
    width = wide;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = wide * ratio;
    canvas.height = high * ratio;
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${high}px`;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, wide, high);
    const inks = {};
    const use = (name) => (inks[name] ||= colour(name));
    context.font = FONT;
    context.direction = "ltr";
    context.textBaseline = "middle";
    for (const tick of ticks(from, to, Math.max(2, Math.floor(wide / 130)))) {
      context.fillStyle = use("line");
      context.fillRect(x(tick), 0, 1, high);
      context.fillStyle = use("soft");
      context.fillText(time(tick, to), x(tick) + 3, 9);
    }
    context.fillStyle = use("soft");
    data.tracks.forEach(([name, , all], track) => context.fillText(fitted(`${name} · ${count(all)} events`, wide - 4), 2, tops[track] - 8));
    // Of what falls on one pixel the first is drawn.
    const full = new Map();
    for (let at = 0; at < events; at++) {
      if (ends[at] < from || starts[at] > to) continue;
      const left = Math.max(x(starts[at]), -2), right = Math.min(x(ends[at]), wide + 2);
      const place = data.track[at] * 64 + data.depth[at];
      if (right - left < 0.6 && (full.get(place) ?? -9) >= left - 0.5 && at !== chosen) continue;
      full.set(place, Math.max(full.get(place) ?? -9, right));
      const y = tops[data.track[at]] + data.depth[at] * row;
      const tone = tones[data.name[at]];
      context.fillStyle = use(tone);
      context.fillRect(left, y, Math.max(right - left - 0.5, 0.7), row - 1.5);
      if (at === chosen) { context.strokeStyle = use("fg"); context.lineWidth = 2; context.strokeRect(left, y + 0.5, Math.max(right - left, 2), row - 2.5); }
      const seen = Math.max(left, 0), room = Math.min(right, wide) - seen - 8;
      if (room > 24) {
        context.fillStyle = use(tone.length === 2 ? "c-ink" : `${tone}-ink`);
        context.fillText(fitted(data.names[data.name[at]], room), seen + 4, y + row / 2);
      }
    }
  });
  const describe = (at) => (at < 0 ? "" : `${data.names[data.name[at]]}: ${time(data.long[at])} from ${time(starts[at], last)}, ${data.tracks[data.track[at]][0]}`);
  const hit = (left, top) => {
    let best = -1;
    for (let at = 0; at < events; at++) {
      const y = tops[data.track[at]] + data.depth[at] * row;
      if (top < y || top > y + row || x(starts[at]) - 1 > left || x(ends[at]) + 1 < left) continue;
      if (best < 0 || data.long[at] < data.long[best]) best = at;
    }
    return best;
  };
  let grabbed = null;
  canvas.addEventListener("pointerdown", (event) => { grabbed = { left: event.clientX, from, to, moved: false }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!grabbed) { const at = hit(...inside(event, canvas)); if (at >= 0) said.textContent = describe(at); return; }
    const by = (grabbed.left - event.clientX) / width * (grabbed.to - grabbed.from);
    if (Math.abs(event.clientX - grabbed.left) > 3) grabbed.moved = true;
    if (grabbed.moved) show(grabbed.from + by, grabbed.to + by);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (grabbed && !grabbed.moved) { chosen = hit(...inside(event, canvas)); said.textContent = describe(chosen); paint(); }
    grabbed = null;
  });
  canvas.addEventListener("dblclick", (event) => { const at = hit(...inside(event, canvas)); if (at >= 0) show(starts[at] - data.long[at] * 0.05, ends[at] + data.long[at] * 0.05); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, from + inside(event, canvas)[0] / width * (to - from));
  }, { passive: false });
  canvas.style.touchAction = "pan-y";
  const step = (by) => {
    const visible = (at) => ends[at] >= from && starts[at] <= to;
    let at = chosen < 0 ? (by > 0 ? -1 : events) : chosen;
    do at += by; while (at >= 0 && at < events && !visible(at));
    if (at < 0 || at >= events) return;
    chosen = at;
    said.textContent = describe(at);
    paint();
  };
  canvas.addEventListener("keydown", (event) => {
    const moves = {
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => show(0, last),
      ArrowLeft: () => show(from - (to - from) / 4, to - (to - from) / 4), ArrowRight: () => show(from + (to - from) / 4, to + (to - from) / 4),
      ",": () => step(-1), ".": () => step(1),
      Enter: () => { if (chosen >= 0) show(starts[chosen] - data.long[chosen] * 0.05, ends[chosen] + data.long[chosen] * 0.05); }, Escape: () => show(0, last),
    };
    if (!moves[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    moves[event.key]();
  });
  show(0, last);
};
