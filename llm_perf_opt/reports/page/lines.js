// Quantities over time, one below the other on one axis.
kinds.lines = (stage, data) => {
  const frame = make("div", { className: "stage" });
  stage.append(frame);
  const tip = tipOf(stage);
  const row = 74, left = 56, right = 10, foot = 30;
  const lines = data.lines.filter((line) => line.points.length);
  const ranges = lines.map((line) => {
    const values = line.points.map((point) => point[1]);
    const low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const room = (high - low || Math.abs(high) || 1) * 0.1;
    return [low - room, high + room];
  });
  let x;
  drawn(frame, (width) => {
    x = (at) => left + (data.long ? at / data.long : 0.5) * (width - left - right);
    const tall = lines.length * row + foot;
    const svg = draw("svg", { width, height: tall, "aria-hidden": "true" });
    lines.forEach((line, at) => {
      const top = at * row + 18, high = row - 26;
      const y = (value) => top + (1 - (value - ranges[at][0]) / (ranges[at][1] - ranges[at][0])) * high;
      svg.append(draw("text", { x: left, y: top - 5 }, `${line.name}, ${line.unit}`));
      for (const tick of ticks(...ranges[at], 3)) {
        svg.append(draw("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }),
          draw("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end", class: "soft" }, significant(tick, 4)));
      }
      svg.append(draw("path", { d: `M${line.points.map(([when, value]) => `${x(when).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}`, fill: "none", stroke: fill(`d${at % 6}`), "stroke-width": 1.5 }));
    });
    for (const tick of ticks(0, data.long, Math.max(2, Math.floor(width / 120)))) {
      svg.append(draw("text", { x: x(tick), y: tall - 14, "text-anchor": "middle", class: "soft" }, `${significant(tick, 3)} s`));
    }
    frame.replaceChildren(svg);
  });
  frame.addEventListener("pointermove", (event) => {
    const [across, down] = inside(event, frame);
    const words = lines.map((line) => {
      const near = line.points.reduce((best, point) => (Math.abs(x(point[0]) - across) < Math.abs(x(best[0]) - across) ? point : best));
      return `${line.name}: ${significant(near[1])} ${line.unit} at ${significant(near[0], 3)} s`;
    });
    tip(words.join("\n"), across, down);
  });
  frame.addEventListener("pointerleave", () => tip(""));
};
