// What the hardware allows at each arithmetic intensity, and what was reached under it; both axes logarithmic.
kinds.roofline = (stage, data) => {
  const frame = make("div", { className: "stage" });
  stage.append(frame);
  const tip = tipOf(stage);
  const intensities = data.points.map((point) => point[1]), rates = data.points.map((point) => point[2]);
  if (data.peak && data.bandwidth) intensities.push(data.peak / data.bandwidth);
  if (data.peak) rates.push(data.peak);
  const ends = (values) => [Math.floor(Math.log10(Math.min(...values)) - 0.15), Math.ceil(Math.log10(Math.max(...values)) + 0.15)];
  const [x0, x1] = ends(intensities), [y0, y1] = ends(rates);
  const prefixes = { 3: "k", 6: "M", 9: "G", 12: "T", 15: "P" };
  const power = (exponent) => { const base = exponent - (((exponent % 3) + 3) % 3); return base in prefixes ? `${10 ** (exponent - base)} ${prefixes[base]}` : exponent >= -4 && exponent < 3 ? String(Number((10 ** exponent).toPrecision(1))) : `1e${exponent}`; };
  const tall = 300, left = 62, right = 14, bottom = 40, head = 20;
  drawn(frame, (width) => {
    const x = (value) => left + (Math.log10(value) - x0) / (x1 - x0) * (width - left - right);
    const y = (value) => head + (1 - (Math.log10(value) - y0) / (y1 - y0)) * (tall - head - bottom);
    const svg = draw("svg", { width, height: tall, "aria-hidden": "true" });
    for (let exponent = x0; exponent <= x1; exponent++) {
      const at = x(10 ** exponent);
      svg.append(draw("line", { x1: at, x2: at, y1: head, y2: tall - bottom, class: "grid" }),
        draw("text", { x: at, y: tall - bottom + 16, "text-anchor": exponent === x1 ? "end" : "middle", class: "soft" }, String(Number((10 ** exponent).toPrecision(1)))));
    }
    for (let exponent = y0; exponent <= y1; exponent++) {
      const at = y(10 ** exponent);
      svg.append(draw("line", { x1: left, x2: width - right, y1: at, y2: at, class: "grid" }),
        draw("text", { x: left - 6, y: at + 4, "text-anchor": "end", class: "soft" }, power(exponent)));
    }
    svg.append(draw("text", { x: 2, y: 12, class: "soft" }, "FLOP/s"), draw("text", { x: width - right, y: tall - 4, "text-anchor": "end", class: "soft" }, "FLOP per byte"));
    const roof = (x1_, y1_, x2_, y2_) => svg.append(draw("line", { x1: x1_, y1: y1_, x2: x2_, y2: y2_, stroke: "var(--fg)", "stroke-width": 2 }));
    const lowest = 10 ** y0, ridge = data.peak && data.bandwidth ? data.peak / data.bandwidth : null;
    if (data.bandwidth) {
      const start = Math.max(10 ** x0, lowest / data.bandwidth), stop = Math.min(ridge ?? Infinity, 10 ** x1, 10 ** y1 / data.bandwidth);
      if (stop > start) roof(x(start), y(start * data.bandwidth), x(stop), y(stop * data.bandwidth));
      const text = draw("text", { x: x(start) + 8, y: Math.max(y(start * data.bandwidth) - 10, head + 12) }, data.bandwidth_words);
      svg.append(text);
    }
    if (data.peak) {
      roof(x(Math.max(ridge ?? 0, 10 ** x0)), y(data.peak), width - right, y(data.peak));
      svg.append(draw("text", { x: width - right, y: y(data.peak) - 6, "text-anchor": "end" }, data.peak_words));
    }
    const few = data.points.length <= 8, size = few ? 6 : 4;
    const taken = [];
    for (const [name, intensity, rate, tone, words, remark] of data.points) {
      const dot = draw("circle", { cx: x(intensity), cy: y(rate), r: size, fill: fill(tone === "rest" ? "d5" : tone), "fill-opacity": few ? 1 : 0.7 });
      dot.addEventListener("pointermove", (event) => tip(`${name}\n${words}${remark ? `\n${remark}` : ""}`, ...inside(event, stage)));
      dot.addEventListener("pointerleave", () => tip(""));
      svg.append(dot);
      if (!few) continue;
      const label = middle(width > 560 ? `${name}: ${words}` : name, 60), wide = ruler.measureText(label).width;
      const after = x(intensity) + 10 + wide < width;
      let line = y(rate) + 4;
      while (taken.some((at) => Math.abs(at - line) < 14)) line += 14;
      taken.push(line);
      svg.append(draw("text", { x: x(intensity) + (after ? 10 : -10), y: line, "text-anchor": after ? "start" : "end" }, label));
    }
    frame.replaceChildren(svg);
  });
};
