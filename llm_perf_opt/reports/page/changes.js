// Figures of two sides, one a row: the values of both on one axis, and how each changed, as an interval around zero.
kinds.changes = (stage, data) => {
  const canvas = make("div", { className: "stage" });
  const legend = make("ul", { className: "legend" });
  for (const [name, tone] of [["A", "d0"], ["B", "d1"]]) legend.append(make("li", {}, draw("svg", { width: 11, height: 11, "aria-hidden": "true" }, draw("circle", { cx: 5.5, cy: 5.5, r: 4, fill: fill(tone) })), ` ${name}`));
  legend.append(make("li", {}, draw("svg", { width: 11, height: 11, "aria-hidden": "true" }, draw("rect", { width: 11, height: 11, fill: fill("shade") })), ` the same: within ${significant(data.tolerance, 3)} %`));
  stage.append(legend, canvas, make("p", { className: "soft" }, `Left: ${data.dots} of A and of B as dots and their medians as lines, on an axis of each figure's own. Right: the change of B against A with its interval, on one axis; what goes beyond it ends in an arrow. Green: B is better, red: worse.`));
  const tip = tipOf(stage);
  const toneOf = (good) => (good === true ? "good" : good === false ? "bad" : "soft");
  const head = 24;
  let row = 0;
  canvas.addEventListener("pointermove", (event) => {
    const found = data.changes[Math.floor((inside(event, canvas)[1] - head) / row)];
    tip(found ? `${found.name}\n${found.words}\n${found.said} (${found.verdict})` : "", ...inside(event, stage));
  });
  canvas.addEventListener("pointerleave", () => tip(""));
  drawn(canvas, (width) => {
    const narrow = width < 720;
    row = narrow ? 74 : 46;
    const strip = narrow ? [4, width * 0.4] : [210, 210 + (width - 300) * 0.38];
    const change = narrow ? [width * 0.46, width - 4] : [strip[1] + 30, width - 92];
    const svg = draw("svg", { width, height: head + data.changes.length * row + 6, "aria-hidden": "true" });
    const at = (percent) => change[0] + (percent / data.reach + 1) / 2 * (change[1] - change[0]);
    const bottom = head + data.changes.length * row;
    svg.append(draw("rect", { x: at(-data.tolerance), y: head - 4, width: at(data.tolerance) - at(-data.tolerance), height: bottom - head + 4, fill: fill("shade"), "fill-opacity": 0.6 }));
    for (const tick of ticks(-data.reach, data.reach, narrow ? 4 : 6)) {
      const x = at(tick);
      if (x < change[0] + 12 || x > change[1] - 12) continue;
      svg.append(draw("line", { x1: x, x2: x, y1: head - 4, y2: bottom, class: tick ? "grid" : "axis" }),
        draw("text", { x, y: head - 10, "text-anchor": "middle", class: "soft" }, `${tick > 0 ? "+" : ""}${significant(tick, 3)}${tick ? " %" : ""}`));
    }
    data.changes.forEach((found, place) => {
      const top = head + place * row, middleOf = top + (narrow ? 46 : row / 2 - 2);
      svg.append(draw("line", { x1: 0, x2: width, y1: top + row - 2, y2: top + row - 2, class: "grid" }));
      const room = narrow ? width - 100 : 200;
      svg.append(draw("text", { x: 0, y: top + 14, "font-weight": 600 }, fitted(found.name, narrow ? width * 0.5 : room)));
      if (narrow) svg.append(draw("text", { x: width, y: top + 14, "text-anchor": "end" }, fitted(found.words, width * 0.48)));
      else svg.append(draw("text", { x: 0, y: top + 31, class: "soft" }, fitted(found.words, room)));
      const verdict = draw("text", { x: width, y: narrow ? top + 68 : middleOf + 4, "text-anchor": "end" }, found.verdict);
      verdict.style.fill = fill(toneOf(found.good));
      svg.append(verdict);
      strips_(svg, found, strip, middleOf);
      interval_(svg, found, middleOf);
    });
    canvas.replaceChildren(svg);

    function strips_(into, found, [left, right], y) {
      const values = [...found.sides[0], ...found.sides[1]];
      if (!values.length) return;
      const low = Math.min(...values), high = Math.max(...values);
      const x = (value) => (high > low ? left + 6 + (value - low) / (high - low) * (right - left - 12) : (left + right) / 2);
      found.sides.forEach((side, number) => {
        const line = y + (number ? 8 : -8);
        into.append(draw("line", { x1: left, x2: right, y1: line, y2: line, class: "grid" }));
        for (const value of side) into.append(draw("circle", { cx: x(value).toFixed(1), cy: line, r: side.length > 60 ? 1.6 : 2.8, fill: fill(`d${number}`), "fill-opacity": 0.75 }));
        const halfway = found.medians[number];
        if (halfway !== null && halfway >= low && halfway <= high) into.append(draw("line", { x1: x(halfway), x2: x(halfway), y1: line - 6, y2: line + 6, stroke: "var(--fg)", "stroke-width": 2 }));
      });
    }

    function interval_(into, found, y) {
      const tone = fill(toneOf(found.good));
      if (found.interval) {
        const [low, high] = found.interval, top = high === null ? Infinity : high;
        const from = at(Math.max(Math.min(low, data.reach), -data.reach)), to = at(Math.max(Math.min(top, data.reach), -data.reach));
        into.append(draw("line", { x1: from, x2: Math.max(to, from + 1), y1: y, y2: y, stroke: tone, "stroke-width": 3 }));
        // What goes on beyond the axis ends in an arrow.
        if (low < -data.reach) into.append(draw("path", { d: `M${at(-data.reach)} ${y}l7 -5v10z`, fill: tone }));
        if (top > data.reach) into.append(draw("path", { d: `M${at(data.reach)} ${y}l-7 -5v10z`, fill: tone }));
      }
      if (found.percent === null) return;
      if (Math.abs(found.percent) <= data.reach) into.append(draw("circle", { cx: at(found.percent), cy: y, r: 5, fill: tone }));
      else if (!found.interval) into.append(draw("path", { d: found.percent > 0 ? `M${at(data.reach)} ${y}l-7 -5v10z` : `M${at(-data.reach)} ${y}l7 -5v10z`, fill: tone }));
    }
  });
};
