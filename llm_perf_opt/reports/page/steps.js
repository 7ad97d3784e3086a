// Steps as points over the length of the cache, their median as a line, the slow ones marked.
kinds.steps = (stage, data) => {
  const frame = make("div", { className: "stage" });
  stage.append(frame);
  const tip = tipOf(stage);
  const low = data.cached.reduce((a, b) => Math.min(a, b), Infinity), high = data.cached.reduce((a, b) => Math.max(a, b), -Infinity);
  const top = data.ms.reduce((a, b) => Math.max(a, b), 0) * 1.05 || 1;
  const tall = 250, left = 48, right = 12, bottom = 34, head = 16;
  let x, y;
  drawn(frame, (width) => {
    x = (cached) => left + (high > low ? (cached - low) / (high - low) : 0.5) * (width - left - right);
    y = (ms) => head + (1 - ms / top) * (tall - head - bottom);
    const svg = draw("svg", { width, height: tall, "aria-hidden": "true" });
    for (const tick of ticks(0, top, 6)) {
      svg.append(draw("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }),
        draw("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end", class: "soft" }, significant(tick, 3)));
    }
    for (const tick of ticks(low, high, Math.max(2, Math.floor(width / 110)))) {
      if (tick !== Math.round(tick)) continue;
      svg.append(draw("text", { x: x(tick), y: tall - bottom + 16, "text-anchor": "middle", class: "soft" }, count(tick)));
    }
    svg.append(draw("text", { x: 2, y: 11, class: "soft" }, "ms"), draw("text", { x: width - right, y: tall - 3, "text-anchor": "end", class: "soft" }, "tokens in the cache"));
    const dots = { usual: [], slow: [] };
    data.cached.forEach((cached, at) => (data.ms[at] > data.slow_from ? dots.slow : dots.usual).push(`M${x(cached).toFixed(1)} ${y(data.ms[at]).toFixed(1)}h0`));
    const points = (kind, tone, wide) => draw("path", { d: dots[kind].join(""), stroke: fill(tone), "stroke-width": wide, "stroke-linecap": "round", fill: "none" });
    svg.append(points("usual", "d0", data.cached.length > 1500 ? 2.5 : 4));
    if (data.line.length > 1) svg.append(draw("path", { d: `M${data.line.map(([at, ms]) => `${x(at).toFixed(1)} ${y(ms).toFixed(1)}`).join("L")}`, stroke: "var(--fg)", "stroke-width": 1.5, fill: "none" }));
    svg.append(points("slow", "bad", 6));
    frame.replaceChildren(svg);
  });
  frame.addEventListener("pointermove", (event) => {
    const [left_, top_] = inside(event, frame);
    let best = -1, near = 144;
    data.cached.forEach((cached, at) => {
      const far = (x(cached) - left_) ** 2 + (y(data.ms[at]) - top_) ** 2;
      if (far < near) { near = far; best = at; }
    });
    tip(best < 0 ? "" : `${significant(data.ms[best])} ms with ${count(data.cached[best])} tokens in the cache`, left_, top_);
  });
  frame.addEventListener("pointerleave", () => tip(""));
};
