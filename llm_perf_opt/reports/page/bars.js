// Bars whose parts add up, on one axis from zero.
const inks = { "in-prefill": "in-ink", "in-decode": "in-ink", compute: "prefill-ink", communication: "prefill-ink", copy: "prefill-ink" };

kinds.bars = (stage, data) => {
  const canvas = make("div", { className: "stage" });
  const legend = make("ul", { className: "legend" });
  stage.append(canvas, legend);
  const tip = tipOf(stage);
  const high = 30, above = data.named ? 20 : 0, gap = 4 + above;
  for (const bar of data.bars) {
    for (const [name, , value, tone, words, remark] of bar.parts) {
      if (!value) continue;
      if (bar !== data.bars[0] && value < data.total / 50) continue;
      if (data.named && data.bars.length > 2) {
        if (tone === "rest" || legend.querySelector(`[data-tone="${tone}"]`)) continue;
      }
      const swatch = draw("svg", { width: 11, height: 11, "aria-hidden": "true" }, draw("rect", { width: 11, height: 11, fill: fill(tone) }));
      legend.append(make("li", { "data-tone": tone }, swatch, ` ${name} `, make("span", { className: "soft" }, data.named && data.bars.length > 2 ? "" : remark && bar !== data.bars[0] ? `${words} (${remark})` : words)));
    }
  }
  drawn(canvas, (width) => {
    const svg = draw("svg", { width, height: data.bars.length * (high + gap), "aria-hidden": "true" });
    data.bars.forEach((bar, row) => {
      const y = row * (high + gap) + above;
      if (data.named && bar.name) svg.append(draw("text", { x: 0, y: y - 5 }, bar.name));
      for (const [name, start, value, tone, words, remark] of bar.parts) {
        const x = start / data.total * width, long = Math.max(value / data.total * width, 0.6);
        const box = draw("rect", { x, y, width: Math.max(long - 0.7, 0.6), height: high, fill: fill(tone) });
        const say = (event) => tip(`${name}\n${words}${remark ? `\n${remark}` : ""}`, ...inside(event, stage));
        box.addEventListener("pointermove", say);
        box.addEventListener("pointerleave", () => tip(""));
        svg.append(box);
        const label = [`${name}  ${words}`, name].find((text) => ruler.measureText(text).width + 12 < long);
        if (label) {
          const text = draw("text", { x: x + 6, y: y + 19, fill: "currentColor", "pointer-events": "none" }, label);
          text.style.fill = fill(inks[tone] || `${tone}-ink`);
          svg.append(text);
        }
      }
    });
    canvas.replaceChildren(svg);
  });
};
