// A table to sort, filter and save. Only the rows that are looked at are in the page.
const STEP = 50;
const PRINTED = 30; // as in the style for paper

kinds.data_table = (stage, data) => {
  const { columns } = data;
  const rows = columns.length ? columns[0].cells.length : 0;
  const texts = columns.map((column) => ["text", "line", "prose", "choice"].includes(column.kind));
  const lower = columns.map((column, at) => (texts[at] ? column.names.map((name) => name.toLowerCase()) : null));
  const word = (at, row) => {
    const column = columns[at], cell = column.cells[row];
    if (texts[at]) return column.names[cell];
    if (cell === null) return "—";
    if (column.kind === "share") return percent(cell);
    if (column.kind === "change") return (cell > 0 ? "+" : "") + significant(cell);
    if (column.kind === "hundredths") return cell.toFixed(2);
    return column.kind === "count" ? count(cell) : significant(cell);
  };
  const kindOf = (at) => (!texts[at] ? "n" : { choice: "c", prose: "p", line: "l", text: "t" }[columns[at].kind]);
  let order = Uint32Array.from({ length: rows }, (_, row) => row);
  let sorted = data.sorted_by, falling = true, shown = STEP, found = order;
  const chosen = new Map();

  // Ranks of the names, so that sorting by text compares numbers.
  const ranks = columns.map((column, at) => {
    if (!texts[at]) return null;
    const places = column.names.map((_, place) => place).sort((a, b) => (lower[at][a] < lower[at][b] ? -1 : lower[at][a] > lower[at][b] ? 1 : 0));
    const rank = new Uint32Array(places.length);
    places.forEach((place, number) => { rank[place] = number; });
    return rank;
  });
  const keys = (at) => Float64Array.from(columns[at].cells, (cell) => (texts[at] ? ranks[at][cell] : cell === null ? -Infinity : cell));

  const filter = make("input", { type: "search", placeholder: "filter  (/)", "aria-label": `Filter ${data.title}`, size: 18 });
  const said = make("span", { role: "status" });
  const head = make("tr"), body = make("tbody");
  const more = button("", () => { shown += STEP; fillIn(); });
  const tools = make("div", { className: "tools" }, filter);
  columns.forEach((column, at) => {
    if (column.kind !== "choice" || column.names.length < 2) return;
    const select = make("select", { "aria-label": `Only ${column.name}` }, make("option", { value: "" }, `any ${column.name}`),
      ...column.names.map((name, place) => make("option", { value: String(place) }, middle(name, 40))));
    select.addEventListener("change", () => { if (select.value === "") chosen.delete(at); else chosen.set(at, Number(select.value)); narrow(); });
    tools.append(select);
  });
  tools.append(button("Save as CSV", () => save(`${data.title.replace(/\W+/g, "-").toLowerCase()}.csv`, csv())), said);

  columns.forEach((column, at) => {
    const cell = make("th", { scope: "col", className: kindOf(at) }, button(column.name, () => {
      falling = sorted === at ? !falling : !texts[at];
      sorted = at;
      arrange();
    }));
    head.append(cell);
  });

  const arrange = () => {
    const key = sorted === null ? null : keys(sorted);
    const natural = Uint32Array.from({ length: rows }, (_, row) => row);
    order = key === null ? natural : natural.sort((a, b) => (falling ? key[b] - key[a] : key[a] - key[b]) || a - b);
    for (const [at, cell] of Array.from(head.children).entries()) {
      const mark = at === sorted ? (falling ? " ▾" : " ▴") : "";
      cell.firstChild.textContent = columns[at].name + mark;
      if (at === sorted) cell.setAttribute("aria-sort", falling ? "descending" : "ascending"); else cell.removeAttribute("aria-sort");
    }
    narrow();
  };

  const narrow = () => {
    const wanted = filter.value.trim().toLowerCase();
    const hits = lower.map((names) => (names && wanted ? Uint8Array.from(names, (name) => (name.includes(wanted) ? 1 : 0)) : null));
    found = order.filter((row) => {
      for (const [at, place] of chosen) if (columns[at].cells[row] !== place) return false;
      return !wanted || hits.some((hit, at) => hit && hit[columns[at].cells[row]]);
    });
    shown = STEP;
    fillIn();
  };

  const largest = columns.map((column) => (column.kind === "share" ? column.cells.reduce((most, cell) => Math.max(most, cell || 0), 0) : 0));
  const fillIn = () => {
    const lines = document.createDocumentFragment();
    for (const row of found.slice(0, shown)) {
      const line = make("tr");
      columns.forEach((column, at) => {
        const words = word(at, row), cell = make("td", { className: kindOf(at) });
        const short = texts[at] && columns[at].kind !== "prose" ? middle(words, 160) : words;
        cell.textContent = short;
        if (short !== words || columns[at].kind === "line") cell.title = words.slice(0, 4000);
        if (column.kind === "share" && largest[at]) {
          const long = (column.cells[row] || 0) / largest[at] * 56;
          cell.append(" ", draw("svg", { width: 56, height: 9, "aria-hidden": "true" }, draw("rect", { width: long, height: 9, fill: fill("in-prefill") })));
        }
        line.append(cell);
      });
      lines.append(line);
    }
    body.replaceChildren(lines);
    const share = columns.findIndex((column) => column.kind === "share");
    const held = share < 0 ? 0 : found.reduce((total, row) => total + (columns[share].cells[row] || 0), 0);
    const sum = share < 0 ? "" : `, together ${percent(held)} (${columns[share].name})`;
    said.textContent = `${count(found.length)} of ${count(rows)} rows${sum}`;
    more.hidden = found.length <= shown;
    more.textContent = `Show ${count(Math.min(STEP, found.length - shown))} more of ${count(found.length - shown)}`;
  };

  const csv = () => {
    const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
    // A leading =, +, - or @ would be run by a spreadsheet.
    const safe = (text) => (/^[=+\-@\t]/.test(text) ? `'${text}` : text);
    const lines = [columns.map((column) => quoted(column.name)).join(",")];
    for (const row of found) lines.push(columns.map((column, at) => (texts[at] ? quoted(safe(column.names[column.cells[row]])) : column.cells[row] ?? "")).join(","));
    return `${lines.join("\n")}\n`;
  };

  filter.addEventListener("input", narrow);
  filter.addEventListener("keydown", (event) => { if (event.key === "Escape" && filter.value) { filter.value = ""; narrow(); } });
  if (!document.querySelector("input[type=search]")) {
    document.addEventListener("keydown", (event) => {
      if (event.key !== "/" || /input|select|textarea/i.test(document.activeElement.tagName)) return;
      event.preventDefault();
      filter.focus();
    });
  }
  const scroll = make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": data.title },
    make("table", { className: "sorted" }, make("caption", { className: "soft", hidden: true }, data.title), make("thead", {}, head), body));
  stage.append(tools, scroll, more);
  if (rows > PRINTED) stage.append(make("p", { className: "soft printed" }, `On paper: the first ${PRINTED} rows of ${count(rows)}.`));
  if (data.left_out) stage.append(make("p", { className: "soft" }, data.left_out));
  arrange();
  return "whole";
};
