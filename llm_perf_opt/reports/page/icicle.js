// Each level below the one around it, as wide as its time. A click or Enter goes in, Esc comes out.
kinds.icicle = (stage, data) => {
  const size = data.parent.length;
  const children = Array.from({ length: size + 1 }, () => []);
  data.parent.forEach((parent, row) => children[parent + 1].push(row));
  let weights = data.device_first ? data.device : data.host;
  let top = -1, chosen = -1;
  const nameOf = (row) => (row < 0 ? "everything" : data.names[data.name[row]]);
  const below = (row) => children[row + 1].filter((child) => weights[child] > 0).sort((a, b) => weights[b] - weights[a] || a - b);
  const weigh = (row) => (row < 0 ? children[0].reduce((sum, child) => sum + weights[child], 0) : weights[row]);
  const wayTo = (row) => { const way = []; for (let at = row; at >= 0; at = data.parent[at]) way.unshift(at); return way; };

  const tools = make("div", { className: "tools" });
  const crumbs = make("span", { className: "tools" });
  const canvas = make("div", { className: "stage", tabIndex: 0, role: "application",
    "aria-label": "Drill-down. Arrow keys move between parts, Enter goes in, Escape comes out." });
  const said = make("p", { className: "said", role: "status" });
  const keys = make("p", { className: "keys" }, "Click or ", make("kbd", {}, "Enter"), " to go in, ", make("kbd", {}, "Esc"), " to come out, arrow keys to move.");
  stage.append(tools, canvas, said, keys);
  const paints = [];
  if (data.device_first && data.host.some((ns) => ns > 0)) {
    const choices = [["device", "devices"], ["host", "host"]].map(([key, words]) => button(`Time of ${key === "host" ? "the " : "the "}${words}`, () => {
      weights = data[key];
      choices.forEach((choice) => choice.setAttribute("aria-pressed", String(choice.dataset.key === key)));
      go(-1);
    }));
    choices.forEach((choice, at) => { choice.dataset.key = ["device", "host"][at]; choice.setAttribute("aria-pressed", String(at === 0)); });
    tools.append(...choices);
  }
  tools.append(crumbs);

  const describe = (row) => {
    if (row < 0) return "";
    const total = weigh(-1), within = weigh(top);
    const own = weights[row] - below(row).reduce((sum, child) => sum + weights[child], 0);
    const shares = `${percent(weights[row] / total)} of all${top >= 0 ? `, ${percent(weights[row] / within)} of ${middle(nameOf(top), 40)}` : ""}`;
    const other = data.device_first ? `; host ${time(data.host[row])}, devices ${time(data.device[row])}` : "";
    return `${nameOf(row)}: ${time(weights[row])}, ${shares}; own ${time(Math.max(own, 0))}; ${count(data.calls[row])} ${data.calls[row] === 1 ? "call" : "calls"} (${data.kinds[data.kind[row]]})${other}`;
  };
  const choose = (row) => { chosen = row; said.textContent = describe(row); paint(); };
  const go = (row) => {
    top = row;
    chosen = row >= 0 ? row : -1;
    crumbs.replaceChildren(...[-1, ...wayTo(row)].map((at) => button(middle(nameOf(at), 36), () => { go(at); canvas.focus(); }, { "aria-current": at === row ? "true" : "false" })));
    said.textContent = describe(chosen);
    paint();
  };

  const high = 24;
  const deepest = (row, level) => below(row).reduce((most, child) => Math.max(most, deepest(child, level + 1)), level);
  const shade = (row) => {
    const name = nameOf(row);
    if (data.kinds[data.kind[row]] === "smaller") return "rest";
    return name === "prefill" ? "prefill" : name === "decode" ? "decode" : hashed(name);
  };
  const ink = (tone) => (tone.startsWith("c") && tone.length === 2 ? "c-ink" : `${tone}-ink`);
  const paint = () => paints.forEach((again) => again());
  paints.push(drawn(canvas, (width) => {
    const total = weigh(top) || 1;
    const svg = draw("svg", { width, height: 10, "aria-hidden": "true" });
    let most = 0;
    const place = (row, x, long, level) => {
      most = Math.max(most, level);
      const tone = row < 0 ? "rest" : shade(row);
      const box = draw("rect", { x: x.toFixed(2), y: level * (high + 1), width: Math.max(long - 0.6, 0.5).toFixed(2), height: high, fill: fill(tone) });
      if (row === chosen && row >= 0) { box.setAttribute("stroke", "var(--fg)"); box.setAttribute("stroke-width", "2"); }
      box.dataset.row = row;
      svg.append(box);
      if (long > 28) {
        const words = `${nameOf(row)}  ${time(row < 0 ? total : weights[row])}  ${percent((row < 0 ? total : weights[row]) / weigh(-1))}`;
        const text = draw("text", { x: (x + 5).toFixed(1), y: level * (high + 1) + 16, "pointer-events": "none" }, ruler.measureText(words).width <= long - 10 ? words : fitted(nameOf(row), long - 10));
        text.style.fill = fill(ink(tone));
        svg.append(text);
      }
      let at = x;
      for (const child of below(row)) {
        const wide = weights[child] / total * width;
        if (wide >= 0.8) place(child, at, wide, level + 1);
        at += wide;
      }
    };
    place(top, 0, width, 0);
    svg.setAttribute("height", (most + 1) * (high + 1));
    canvas.replaceChildren(svg);
  }));

  canvas.addEventListener("click", (event) => {
    const row = event.target.dataset && event.target.dataset.row;
    if (row === undefined) return;
    if (Number(row) === top && top >= 0) go(data.parent[top]); else go(Number(row));
  });
  canvas.addEventListener("pointermove", (event) => {
    const row = event.target.dataset && event.target.dataset.row;
    if (row !== undefined) said.textContent = describe(Number(row));
  });
  canvas.addEventListener("keydown", (event) => {
    const around = chosen < 0 ? -1 : data.parent[chosen];
    const beside = chosen < 0 ? [] : below(around), at = beside.indexOf(chosen);
    const moves = {
      ArrowDown: () => { const first = below(chosen)[0]; if (first !== undefined) choose(first); },
      ArrowUp: () => { if (chosen !== top && around !== top) choose(around); else if (chosen !== top) choose(top); },
      ArrowRight: () => { if (chosen !== top && at + 1 < beside.length) choose(beside[at + 1]); },
      ArrowLeft: () => { if (chosen !== top && at > 0) choose(beside[at - 1]); },
      Enter: () => { if (chosen >= 0) go(chosen); },
      Escape: () => { if (top >= 0) go(data.parent[top]); },
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });
  go(-1);
};
