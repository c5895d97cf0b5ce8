"use strict";

/* Three significant digits, no exponent, as in the tables. */
function number(value) {
  if (value === null || value === undefined) return "–";
  const rounded = Number(value.toPrecision(3));
  const digits = rounded ? Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded)))) : 0;
  return rounded.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
}

const SVG = "http://www.w3.org/2000/svg";

function shape(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

/* The mark of a curve at a point, by matplotlib's letter: form, not only colour, says which curve it is. */
function mark(parent, kind, x, y, size) {
  const s = size;
  const forms = {
    s: `M${x - s},${y - s}h${2 * s}v${2 * s}h${-2 * s}z`,
    D: `M${x},${y - 1.4 * s}l${1.4 * s},${1.4 * s}l${-1.4 * s},${1.4 * s}l${-1.4 * s},${-1.4 * s}z`,
    "^": `M${x},${y - 1.3 * s}l${1.3 * s},${2.4 * s}h${-2.6 * s}z`,
    v: `M${x},${y + 1.3 * s}l${1.2 * s},${-2.4 * s}h${-2.4 * s}z`,
    P: `M${x - 0.5 * s},${y - 1.4 * s}h${s}v${0.9 * s}h${0.9 * s}v${s}h${-0.9 * s}v${0.9 * s}h${-s}v${-0.9 * s}h${-0.9 * s}v${-s}h${0.9 * s}z`,
    o: `M${x - s},${y}a${s},${s} 0 1,0 ${2 * s},0a${s},${s} 0 1,0 ${-2 * s},0z`,
    X: `M${x - s},${y - s}l${2 * s},${2 * s}m0,${-2 * s}l${-2 * s},${2 * s}`,
  };
  return shape(parent, "path", { d: forms[kind], class: kind === "X" ? "mark open" : "mark" });
}

/* One metric over µ: curves with bands, bounds, the unrelated images, a line at the slider. */
class Chart {
  constructor(parent, panel, data, moveTo) {
    Object.assign(this, { panel, data, left: 46, right: 352, top: 30, bottom: 218 });
    const logs = data.mu.map(Math.log);
    const span = logs[logs.length - 1] - logs[0] || 1;
    this.xs = logs.map((v) => (data.mu.length > 1 ? this.left + 8 + ((v - logs[0]) / span) * (this.right - this.left - 16) : (this.left + this.right) / 2));
    const figure = parent.appendChild(document.createElement("figure"));
    this.svg = shape(figure, "svg", { viewBox: "0 0 360 252", role: "img" });
    this.name = shape(this.svg, "title", { id: `chart-${panel.name}` });
    this.svg.setAttribute("aria-labelledby", this.name.id);
    const clip = shape(shape(this.svg, "defs", {}), "clipPath", { id: `clip-${panel.name}` });
    shape(clip, "rect", { x: this.left, y: this.top, width: this.right - this.left, height: this.bottom - this.top });
    this.axes();
    this.plot = shape(this.svg, "g", { "clip-path": `url(#clip-${panel.name})` });
    panel.lines.forEach((line) => this.band(line, "line"));
    panel.lines.forEach((line) => this.curve(line));
    panel.curves.forEach((curve) => this.band(curve, "curve"));
    panel.curves.forEach((curve) => this.curve(curve));
    this.rule = shape(this.svg, "line", { class: "rule", y1: this.top, y2: this.bottom });
    this.dots = shape(this.svg, "g", { class: "dots" });
    this.svg.addEventListener("pointerdown", (event) => {
      const box = this.svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 360;
      const far = this.xs.map((place) => Math.abs(place - x));
      moveTo(far.indexOf(Math.min(...far)));
    });
  }

  y(value) {
    const [low, high] = this.panel.limits.map((v) => (this.panel.log ? Math.log(v) : v));
    const v = this.panel.log ? Math.log(Math.max(value, this.panel.limits[0] / 10)) : value;
    const share = Math.min(2, Math.max(-1, (v - low) / (high - low)));
    return this.bottom - share * (this.bottom - this.top);
  }

  axes() {
    const g = shape(this.svg, "g", { class: "axes" });
    let last = -99;
    this.xs.forEach((x, i) => {
      shape(g, "line", { x1: x, x2: x, y1: this.bottom, y2: this.bottom + 4 });
      if (x - last < 26) return;
      last = x;
      shape(g, "text", { x, y: this.bottom + 15, "text-anchor": "middle" }, this.data.muText[i]);
      shape(g, "text", { x, y: this.top - 5, "text-anchor": "middle", class: "small" }, this.data.epsilon[i]);
    });
    shape(g, "text", { x: this.right, y: this.bottom + 29, "text-anchor": "end" }, "µ = C/σ");
    shape(g, "text", { x: this.right, y: 11, "text-anchor": "end", class: "small" }, `ε at δ = ${this.data.delta}`);
    shape(g, "text", { x: 4, y: 11, class: "name" }, `${this.panel.label}  (${this.panel.closer === "higher" ? "↑" : "↓"} closer)`);
    for (const value of this.ticks()) {
      const y = this.y(value);
      shape(g, "line", { x1: this.left, x2: this.right, y1: y, y2: y, class: "grid" });
      shape(g, "text", { x: this.left - 5, y: y + 3.5, "text-anchor": "end" }, String(value).replace("-", "−"));
    }
  }

  ticks() {
    const [low, high] = this.panel.limits;
    const all = this.panel.log
      ? [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3].map((power) => Number(`1e${power}`))
      : [-0.5, 0, 0.25, 0.5, 0.75, 1, 1.5];
    return all.filter((v) => v >= low && v <= high);
  }

  points(values) {
    return values.map((v, i) => (v === null ? null : [this.xs[i], this.y(v)])).filter(Boolean);
  }

  area(low, high, attributes) {
    const there = this.points(high);
    const back = this.points(low).reverse();
    if (there.length > 1) shape(this.plot, "polygon", { points: [...there, ...back].join(" "), ...attributes });
  }

  band(curve, kind) {
    this.area(curve.low, curve.high, { class: `band ${kind}`, style: `fill: var(--${curve.key})` });
  }

  curve(curve) {
    const points = this.points(curve.value);
    const style = `stroke: var(--${curve.key})`;
    if (points.length > 1) shape(this.plot, "polyline", { points: points.join(" "), class: "curve", style, "stroke-dasharray": curve.dash });
    if (curve.mark) points.forEach(([x, y]) => mark(this.plot, curve.mark, x, y, 2.2).setAttribute("style", `${style}; fill: var(--${curve.key})`));
  }

  moveTo(i) {
    const x = this.xs[i];
    this.rule.setAttribute("x1", x);
    this.rule.setAttribute("x2", x);
    this.dots.replaceChildren();
    const said = [];
    for (const curve of this.panel.curves) {
      if (curve.value[i] === null) continue;
      mark(this.dots, curve.mark, x, this.y(curve.value[i]), 4).setAttribute("style", `stroke: var(--ink); fill: var(--${curve.key})`);
      said.push(`${curve.label} ${number(curve.value[i])}`);
    }
    this.name.textContent = `${this.panel.label} over µ. At µ = ${this.data.muText[i]}: ${said.join(", ")}.`;
  }
}
