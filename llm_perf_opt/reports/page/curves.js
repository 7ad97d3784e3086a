// Measured values over one quantity: curves with intervals, what would be possible at best, a front, marks.
kinds.curves = (stage, data) => {
  const legend = make("ul", { className: "legend" });
  const frame = make("div", { className: "stage" });
  const key = (name, shape) => legend.append(make("li", {}, draw("svg", { width: 16, height: 11, "aria-hidden": "true" }, shape), ` ${middle(name, 70)}`));
  if (data.curves.length > 1) data.curves.forEach((curve, at) => key(curve.name, draw("circle", { cx: 8, cy: 5.5, r: 4.5, fill: fill(`d${at}`) })));
  const dash = { x1: 0, x2: 16, y1: 5.5, y2: 5.5, stroke: "var(--soft)", "stroke-width": 2 };
  if (data.curves.some((curve) => curve.bound.length)) key("at best, by the peaks", draw("line", { ...dash, "stroke-dasharray": "5 3" }));
  if (data.front.length > 1) key("front", draw("line", dash));
  if (data.marks.some(([, , step]) => step)) key("clear step", draw("line", { ...dash, stroke: fill("bad") }));
  if (data.marks.some(([, , step]) => !step)) key("something else changed", draw("line", { ...dash, "stroke-dasharray": "2 3" }));
  stage.append(legend, frame);
  if (data.left_out) stage.append(make("p", { className: "soft" }, `${count(data.left_out)} more curves are in the table.`));
  const tip = tipOf(stage);
  const spots = data.curves.flatMap((curve) => curve.spots);
  const heights = [...spots.flatMap(([, y, , ...ends]) => [y, ...ends]), ...data.curves.flatMap((curve) => curve.bound.map(([, y]) => y))];
  const across = spots.map(([x]) => x);
  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity), most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const [x0, x1] = [least(across), most(across)];
  const room = (most(heights) - least(heights) || Math.abs(most(heights)) || 1) * 0.08;
  const steep = data.up_logarithmic;
  const y0 = steep ? 10 ** Math.floor(Math.log10(least(heights))) : data.from_zero ? 0 : Math.max(least(heights) - room, least(heights) > 0 ? 0 : -Infinity), y1 = steep ? 10 ** Math.ceil(Math.log10(most(heights))) : most(heights) + room;
  const tall = 300, left = 64, right = 18, bottom = 40, head = 28;
  const scale = data.logarithmic ? Math.log : (value) => value;
  // Each value where they are few, else doublings, or round numbers.
  const places = (width) => {
    const few = Math.max(2, Math.floor(width / 70));
    if (data.labels.length) {
      const every = Math.ceil(data.labels.length / Math.max(2, Math.floor(width / 100)));
      return data.labels.filter((_, at) => at % every === 0);
    }
    const distinct = [...new Set(across)].sort((a, b) => a - b);
    const named = (value) => [value, significant(value, Math.abs(value) >= 1000 ? 6 : 4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "")];
    const whole = distinct.every((value) => value === Math.round(value));
    const apart = distinct.every((value, at) => !at || (scale(value) - scale(distinct[at - 1])) / (scale(x1) - scale(x0)) * width > 45);
    if (whole ? apart : data.logarithmic && distinct.length <= few) return distinct.map(named);
    if (!data.logarithmic) return ticks(x0, x1, few).filter((value) => !whole || value === Math.round(value)).map(named);
    const found = [];
    for (let value = x0, factor = 2 ** Math.max(1, Math.ceil(Math.log2(x1 / x0) / few)); value <= x1 * 1.0001; value *= factor) found.push(named(value));
    return found;
  };
  let x, y;
  drawn(frame, (width) => {
    x = (value) => left + (x1 > x0 ? 10 + (scale(value) - scale(x0)) / (scale(x1) - scale(x0)) * (width - left - right - 20) : (width - left - right) / 2);
    const lift = steep ? Math.log : (value) => value;
    y = (value) => head + (1 - (lift(value) - lift(y0)) / (lift(y1) - lift(y0))) * (tall - head - bottom);
    const svg = draw("svg", { width, height: tall, "aria-hidden": "true" });
    const powers = Array.from({ length: steep ? Math.round(Math.log10(y1 / y0)) + 1 : 0 }, (_, at) => y0 * 10 ** at);
    for (const tick of steep ? powers : ticks(y0, y1, 6)) svg.append(draw("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }), draw("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end", class: "soft" }, steep ? String(Number(tick.toPrecision(1))) : significant(tick, 4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "")));
    for (const [value, words] of places(width - left - right)) {
      if (!data.labels.length) svg.append(draw("line", { x1: x(value), x2: x(value), y1: head, y2: tall - bottom, class: "grid" }));
      svg.append(draw("text", { x: x(value), y: tall - bottom + 16, "text-anchor": "middle", class: "soft" }, words));
    }
    svg.append(draw("text", { x: 2, y: 12, class: "soft" }, fitted(data.up, width - 4)), draw("text", { x: width - right, y: tall - 5, "text-anchor": "end", class: "soft" }, fitted(data.across, width - left)));
    const path = (points, attributes) => points.length > 1 && svg.append(draw("path", { d: `M${points.map(([px, py]) => `${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("L")}`, fill: "none", "stroke-width": 2, ...attributes }));
    for (const [place, , step] of data.marks) svg.append(draw("line", { x1: x(place), x2: x(place), y1: head, y2: tall - bottom, stroke: fill(step ? "bad" : "soft"), "stroke-width": step ? 2 : 1.5, ...(step ? {} : { "stroke-dasharray": "2 3" }) }));
    path(data.front, { stroke: "var(--soft)" });
    data.curves.forEach((curve, at) => {
      const ink = fill(`d${at}`);
      if (curve.joined) path(curve.spots, { stroke: ink, "stroke-width": 1.5 });
      path(curve.bound, { stroke: ink, "stroke-dasharray": "5 3", "stroke-width": 1.5 });
      if (curve.bound.length === 1) svg.append(draw("line", { x1: x(curve.bound[0][0]) - 8, x2: x(curve.bound[0][0]) + 8, y1: y(curve.bound[0][1]), y2: y(curve.bound[0][1]), stroke: ink, "stroke-width": 2, "stroke-dasharray": "4 2" }));
      for (const [px, py, , low, high] of curve.spots) {
        if (low !== undefined) svg.append(draw("line", { x1: x(px), x2: x(px), y1: y(low), y2: y(high), stroke: ink, "stroke-width": 2, "stroke-opacity": 0.55 }));
        svg.append(draw("circle", { cx: x(px), cy: y(py), r: curve.spots.length > 100 ? 2.5 : 4, fill: ink }));
      }
    });
    frame.replaceChildren(svg);
  });
  frame.addEventListener("pointermove", (event) => {
    const [from, down] = inside(event, frame);
    let best = "", near = 400;
    for (const curve of data.curves) for (const [px, py, words] of curve.spots) {
      const far = (x(px) - from) ** 2 + (y(py) - down) ** 2;
      if (far < near) { near = far; best = words; }
    }
    if (!best) best = data.marks.filter(([place]) => Math.abs(x(place) - from) < 5).map(([, words]) => words).join("\n");
    tip(best, from, down);
  });
  frame.addEventListener("pointerleave", () => tip(""));
};
