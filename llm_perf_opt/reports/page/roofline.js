// What the hardware allows at each arithmetic intensity, and what was reached under it; both axes logarithmic.
kinds.roofline = (stage, data) => {
  const frame = make("div", { className: "stage" });
  const tip = tipOf(stage);
  const bars = data.roofs.length > 1 ? make("ul", { className: "legend" }) : "";
  const several = data.roofs.length > 1;
  const inkOf = (at) => (several ? `d${at % 8}` : "fg");
  if (several) data.roofs.forEach(([name, , , peak, bandwidth], at) => bars.append(make("li", {}, draw("svg", { width: 16, height: 11, "aria-hidden": "true" }, draw("line", { x1: 0, x2: 16, y1: 5.5, y2: 5.5, stroke: fill(inkOf(at)), "stroke-width": 3 })), ` ${middle(name, 50)} `, make("span", { className: "soft" }, `${peak === "—" ? "peak unknown" : peak}, ${bandwidth}`))));
  const shaped = several && new Set(data.points.map((point) => point[3])).size > 1;
  if (shaped) bars.append(make("li", {}, "squares: prefill, circles: decode"));
  let alone = null;
  const dots = [];
  const said = make("p", { className: "said", role: "status" });
  stage.append(bars, data.listed ? make("div", { className: "beside" }, frame, listOf()) : frame);
  if (data.listed) stage.append(said);

  const wordsOf = ([, intensity, rate]) => `${scaled(rate, "FLOP/s")} at ${significant(intensity)} FLOP/B`;
  const intensities = data.points.map((point) => point[1]), rates = data.points.map((point) => point[2]);
  for (const [, peak, bandwidth] of data.roofs) {
    if (peak && bandwidth) intensities.push(peak / bandwidth);
    if (peak) rates.push(peak);
  }
  const ends = (values) => [Math.floor(Math.log10(values.reduce((a, b) => Math.min(a, b))) - 0.15), Math.ceil(Math.log10(values.reduce((a, b) => Math.max(a, b))) + 0.15)];
  const [x0, x1] = ends(intensities), [y0, y1] = ends(rates);
  const prefixes = { 3: "k", 6: "M", 9: "G", 12: "T", 15: "P" };
  const power = (exponent) => { const base = exponent - (((exponent % 3) + 3) % 3); return base in prefixes ? `${10 ** (exponent - base)} ${prefixes[base]}` : exponent >= -4 && exponent < 3 ? String(Number((10 ** exponent).toPrecision(1))) : `1e${exponent}`; };
  const tall = 320, left = 62, right = 14, bottom = 40, head = 28;
  drawn(frame, (width) => {
    const x = (value) => left + (Math.log10(value) - x0) / (x1 - x0) * (width - left - right);
    const y = (value) => head + (1 - (Math.log10(value) - y0) / (y1 - y0)) * (tall - head - bottom);
    const svg = draw("svg", { width, height: tall, "aria-hidden": "true" });
    const dense = Math.ceil((x1 - x0 + 1) * 52 / (width - left));
    for (let exponent = x0; exponent <= x1; exponent++) {
      const at = x(10 ** exponent);
      svg.append(draw("line", { x1: at, x2: at, y1: head, y2: tall - bottom, class: "grid" }));
      if ((exponent - x0) % dense === 0) svg.append(draw("text", { x: at, y: tall - bottom + 16, "text-anchor": exponent === x1 ? "end" : "middle", class: "soft" }, String(Number((10 ** exponent).toPrecision(1)))));
    }
    const high = Math.ceil((y1 - y0 + 1) * 18 / (tall - head - bottom));
    for (let exponent = y0; exponent <= y1; exponent++) {
      const at = y(10 ** exponent);
      svg.append(draw("line", { x1: left, x2: width - right, y1: at, y2: at, class: "grid" }));
      if ((exponent - y0) % high === 0) svg.append(draw("text", { x: left - 6, y: at + 4, "text-anchor": "end", class: "soft" }, power(exponent)));
    }
    svg.append(draw("text", { x: 2, y: 12, class: "soft" }, "FLOP/s"), draw("text", { x: width - right, y: tall - 4, "text-anchor": "end", class: "soft" }, "FLOP per byte"));
    const lowest = 10 ** y0;
    data.roofs.forEach(([, peak, bandwidth, peakWords, bandwidthWords], at) => {
      const roof = (xa, ya, xb, yb) => svg.append(draw("line", { x1: xa, y1: ya, x2: xb, y2: yb, stroke: fill(inkOf(at)), "stroke-width": 2 }));
      const ridge = peak && bandwidth ? peak / bandwidth : null;
      if (bandwidth) {
        const start = Math.max(10 ** x0, lowest / bandwidth), stop = Math.min(ridge ?? Infinity, 10 ** x1, 10 ** y1 / bandwidth);
        if (stop > start) roof(x(start), y(start * bandwidth), x(stop), y(stop * bandwidth));
        // Above its upper end, where nothing is: no work is faster than its roof.
        if (!several) svg.append(draw("text", { x: Math.max(x(stop) - 18, left + 4 + ruler.measureText(bandwidthWords).width), y: Math.max(y(stop * bandwidth) - 6, head + 12), "text-anchor": "end" }, bandwidthWords));
      }
      if (peak) {
        roof(x(Math.max(ridge ?? 0, 10 ** x0)), y(peak), width - right, y(peak));
        if (!several) svg.append(draw("text", { x: width - right, y: y(peak) - 6, "text-anchor": "end" }, peakWords));
      }
    });
    const few = data.points.length <= 8 && !data.listed, size = few ? 6 : 4.5;
    const taken = [], toned = data.points.filter((point) => point[3] !== "rest").length;
    dots.length = 0;
    for (const point of data.points) {
      const [place, intensity, rate, tone, remark, roof, row] = point, name = data.names[place];
      const ink = fill(several ? inkOf(roof) : tone === "rest" ? "d5" : tone);
      const style = { fill: ink, "fill-opacity": few ? 1 : 0.75, stroke: "var(--bg)", "stroke-width": few ? 0 : 0.7 };
      const dot = shaped && tone === "prefill" ? draw("rect", { x: x(intensity) - size, y: y(rate) - size, width: 2 * size, height: 2 * size, ...style })
        : draw("circle", { cx: x(intensity), cy: y(rate), r: size, ...style });
      dot.addEventListener("pointermove", (event) => tip(`${middle(name, 200)}\n${several ? `${data.roofs[roof][0]}: ` : ""}${wordsOf(point)}${remark ? `\n${remark}` : ""}`, ...inside(event, stage)));
      dot.addEventListener("pointerleave", () => tip(""));
      if (data.listed) dot.addEventListener("click", () => { isolate(row === alone ? null : row); });
      dots.push([dot, row]);
      svg.append(dot);
      if (!few && (tone === "rest" || toned > 8)) continue;
      const label = middle(width > 560 ? `${name}: ${wordsOf(point)}` : name, 60), wide = ruler.measureText(label).width;
      const after = x(intensity) + 10 + wide < width;
      let line = y(rate) + 4;
      while (taken.some((other) => Math.abs(other - line) < 14)) line += 14;
      taken.push(line);
      svg.append(draw("text", { x: x(intensity) + (after ? 10 : -10), y: line, "text-anchor": after ? "start" : "end" }, label));
    }
    frame.replaceChildren(svg);
    if (data.listed) isolate(alone);
  });

  // One kernel alone: its points stay, the others fade.
  function isolate(row) {
    alone = row;
    for (const [dot, of] of dots) {
      dot.setAttribute("opacity", alone === null || of === alone ? 1 : 0.25);
      if (of === alone) dot.parentNode.append(dot);
    }
    for (const one of stage.querySelectorAll(".beside tbody button")) one.setAttribute("aria-pressed", String(Number(one.dataset.row) === alone));
    const shown = data.points.filter((point) => point[6] === alone);
    said.textContent = alone === null ? "Choose a kernel to see it alone."
      : shown.length ? `${middle(data.listed.rows[alone][0], 160)}: ${shown.slice(0, 4).map((point) => `${data.roofs.length ? `${data.roofs[point[5]][0]}, ` : ""}${wordsOf(point)}${point[4] ? `, ${point[4]}` : ""}`).join("; ")}${shown.length > 4 ? `; and ${count(shown.length - 4)} more` : ""}`
        : `${middle(data.listed.rows[alone][0], 160)}: no point; see the table for the reason.`;
  }

  function listOf() {
    const { columns, rows } = data.listed;
    const head = make("tr", {}, ...columns.map((name, at) => make("th", { scope: "col", className: at ? "n" : "" }, name)));
    const body = make("tbody", {}, ...rows.map((cells, row) => {
      const act = button(cells[0].slice(0, 200), () => isolate(alone === row ? null : row), { title: cells[0].slice(0, 4000), "aria-pressed": "false", "data-row": String(row) });
      return make("tr", {}, make("td", {}, act), ...cells.slice(1).map((cell) => make("td", { className: "n" }, cell)));
    }));
    body.addEventListener("keydown", (event) => {
      if (event.key === "Escape") isolate(null);
      const to = { ArrowDown: 1, ArrowUp: -1 }[event.key], buttons = [...body.querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
      if (!to || at < 0 || !buttons[at + to]) return;
      event.preventDefault();
      buttons[at + to].focus();
      isolate(at + to);
    });
    return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Kernels of the roofline" }, make("table", { className: "listed" }, make("thead", {}, head), body));
  }
};
