// Figures side by side: every repeat a dot, the median a line, its interval a shade.
kinds.tiles = (stage, tiles) => {
  const grid = make("div", { className: "tiles" });
  stage.append(grid);
  for (const tile of tiles) {
    const strip = make("div", { className: "stage" });
    const words = tile.interval ? `95 % CI ${tile.interval_text}` : tile.remark || " ";
    grid.append(make("div", { className: "tile" },
      make("p", {}, make("b", {}, tile.text), " ", make("span", {}, tile.median === null ? "" : tile.unit)),
      make("p", {}, tile.label), strip, make("p", { className: "soft" }, words)));
    if (tile.samples.length) drawn(strip, (width) => strip.replaceChildren(strips(tile, width)));
  }
};

const strips = (tile, width) => {
  const values = tile.interval ? [...tile.samples, ...tile.interval] : tile.samples;
  const low = Math.min(...values), high = Math.max(...values);
  const at = (value) => (high > low ? 6 + (value - low) / (high - low) * (width - 12) : width / 2);
  const several = new Set(tile.groups).size;
  const size = tile.samples.length > 60 ? 1.5 : 2.6;
  const svg = draw("svg", { width, height: 22, "aria-hidden": "true" });
  if (tile.interval) {
    const [from, to] = tile.interval.map(at);
    svg.append(draw("rect", { x: from, y: 6, width: Math.max(to - from, 1), height: 10, fill: fill("shade") }));
  }
  svg.append(draw("line", { x1: 0, x2: width, y1: 11, y2: 11, class: "grid" }));
  tile.samples.forEach((value, place) => {
    const group = several > 1 && several <= 6 ? tile.groups[place] % 6 : 0;
    const shift = tile.samples.length > 12 ? (place * 7 % 11) - 5 : 0;
    svg.append(draw("circle", { cx: at(value).toFixed(1), cy: 11 + shift, r: size, fill: fill(`d${group}`) }));
  });
  svg.append(draw("line", { x1: at(tile.median), x2: at(tile.median), y1: 2, y2: 20, stroke: "var(--fg)", "stroke-width": 2 }));
  return svg;
};
