"use strict";
// What every kind of chart is drawn with. Text that is not ours only ever becomes text nodes.
const kinds = {};
const root = document.documentElement;
const SVG = "http://www.w3.org/2000/svg";

const make = (tag, properties, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name in node && !name.startsWith("aria")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
};

const draw = (tag, attributes, ...children) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const fill = (name) => `var(--${name})`;

// A name always has the same colour.
const hashed = (name) => {
  let hash = 7;
  for (let at = 0; at < name.length; at++) hash = (hash * 31 + name.charCodeAt(at)) >>> 0;
  return `c${hash % 8}`;
};

const grouped = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
const count = (value) => grouped(String(Math.round(value)));

// Like `significant` of the reports: so many significant digits, with separators of thousands.
const significant = (value, digits = 4) => {
  if (value === null || value === undefined || !isFinite(value)) return "—";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1) return size < 1e-4 ? value.toExponential(digits - 1) : String(Number(value).toPrecision(digits)).replace(/e.*$/, "");
  const whole = String(Math.trunc(size)).length;
  const [front, back] = value.toFixed(Math.max(digits - whole, 0)).split(".");
  return grouped(front) + (back ? `.${back}` : "");
};

// Like `scaled` of the reports: with a decimal prefix before the unit.
const scaled = (value, unit) => {
  const [factor, prefix] = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([size]) => Math.abs(value) >= size) || [1, ""];
  return `${Number((value / factor).toPrecision(4))} ${prefix}${unit}`;
};

const percent = (share) => `${share < 0.9995 ? (share * 100).toFixed(1) : (share * 100).toFixed(0)} %`;

// Nanoseconds in the unit that suits them, or that suits `like`.
const time = (ns, like = ns) => {
  const size = Math.abs(like);
  if (size >= 1e9) return `${significant(ns / 1e9)} s`;
  if (size >= 1e6) return `${significant(ns / 1e6)} ms`;
  if (size >= 1e3) return `${significant(ns / 1e3)} µs`;
  return `${count(ns)} ns`;
};

const middle = (text, room) => {
  if (text.length <= room) return text;
  const half = Math.floor((room - 1) / 2);
  return `${text.slice(0, room - 1 - half)}…${text.slice(text.length - half)}`;
};

// The text as far as it fits: whole, or without its middle, or nothing.
const FONT = '12px system-ui, "DejaVu Sans", sans-serif';
const ruler = document.createElement("canvas").getContext("2d");
ruler.font = FONT;
const fitted = (text, room) => {
  let short = text.slice(0, 400), width;
  while ((width = ruler.measureText(short).width) > room) {
    const letters = Math.min(short.length - 1, Math.floor(short.length * room / width));
    if (letters < 4) return "";
    short = middle(text, letters);
  }
  return short;
};

// Round values for an axis from `low` to `high`.
const ticks = (low, high, most) => {
  const step = 10 ** Math.floor(Math.log10((high - low || 1) / Math.max(most, 1)));
  const wide = [1, 2, 5, 10].map((factor) => factor * step).find((found) => (high - low) / found <= most) || step * 10;
  const found = [];
  for (let value = Math.ceil(low / wide - 1e-9) * wide; value <= high + wide * 1e-6; value += wide) found.push(Math.abs(value) < wide / 1e6 ? 0 : value);
  return found;
};

const painters = new Set();

// Draws now, and again when the width or the colours change.
const drawn = (stage, paint) => {
  let before = 0;
  const again = (force) => {
    const width = Math.floor(root.classList.contains("print") ? 680 : stage.clientWidth);
    if (width < 40 || (!force && width === before)) return;
    before = width;
    paint(width);
  };
  painters.add(again);
  new ResizeObserver(() => requestAnimationFrame(() => again(false))).observe(stage);
  again(true);
  return () => again(true);
};

const tipOf = (stage) => {
  const tip = make("div", { className: "tip", "aria-hidden": "true" });
  stage.append(tip);
  return (words, x, y) => {
    tip.textContent = words || "";
    if (!words) return;
    const left = Math.min(Math.max(0, x + 12), Math.max(0, stage.clientWidth - tip.offsetWidth));
    tip.style.left = `${left}px`;
    tip.style.top = `${y + 16}px`;
  };
};

const inside = (event, node) => {
  const box = node.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

const button = (words, act, properties) => {
  const node = make("button", { type: "button", ...properties }, words);
  node.addEventListener("click", act);
  return node;
};

const save = (name, text) => {
  const link = make("a", { download: name, href: URL.createObjectURL(new Blob([text], { type: "text/csv" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

const dataOf = async (figure) => {
  const plain = figure.querySelector('script[type="application/json"]');
  if (plain) return JSON.parse(plain.textContent);
  const packed = figure.querySelector('script[type="application/gzip"]');
  if (!("DecompressionStream" in window)) throw new Error("this browser cannot unpack the data of the page (DecompressionStream)");
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};
