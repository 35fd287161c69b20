// Line charts in SVG, read by eye, mouse, keyboard, in print and as a table. Needs svg.js.
//   new Wedge.Chart(container, {title, xLabel, yLabel, yLog, xRange, yRange, marks: [{y | x, label}]})
//     .show([{name, x: [], y: [], style: "line" | "points" | "dashed", colour: 0}])   nulls are gaps; of one colour is what belongs together
"use strict";

var Wedge = window.Wedge || {};

Wedge.DASHES = ["", "8 4", "2 3", "10 3 2 3", "5 3", "12 6"];
Wedge.MARKERS = ["M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z", "M-4,-4h8v8h-8Z", "M0,-5L5,4H-5Z", "M0,-5L5,0L0,5L-5,0Z", "M-5,-4H5L0,5Z", "M-4,-4L4,4M-4,4L4,-4"];

Wedge.Chart = class {
  constructor(container, options = {}) {
    this.options = { title: "", xLabel: "", yLabel: "", yLog: false, xRange: null, yRange: null, marks: [], ...options };
    this._series = [];
    this._steps = [];
    this._at = null; // the x that is read
    this._build(container);
    this._unobserve = Wedge.observeWidth(this.root, () => this._draw());
  }

  show(series) {
    this._series = series.map((each, place) => ({ style: "line", colour: place, ...each }));
    this._steps = [...new Set(this._series.flatMap((each) => Array.from(each.x)))].sort((a, b) => a - b);
    this._writeLegend();
    if (this._details.open) this._writeTable();
    this._draw();
  }

  destroy() {
    this._unobserve();
    this.root.remove();
  }

  _build(container) {
    const make = (tag, parent) => parent.appendChild(document.createElement(tag));
    this.root = make("figure", container);
    this.root.className = "wedge-chart";
    make("figcaption", this.root).textContent = this.options.title;
    this._legend = make("ul", this.root);
    this._svg = this.root.appendChild(Wedge.svg("svg", { tabindex: 0, role: "application" }));
    const { title, xLabel, yLabel } = this.options;
    this._svg.setAttribute("aria-label", `${title || yLabel}: chart of ${yLabel} over ${xLabel}; arrow keys read values, a table follows`);
    this._output = make("output", this.root);
    this._output.setAttribute("aria-live", "polite");
    this._details = make("details", this.root);
    make("summary", this._details).textContent = "values as a table";
    this._details.addEventListener("toggle", () => this._details.open && this._writeTable());
    this._svg.addEventListener("pointermove", (event) => {
      const x = event.clientX - this._svg.getBoundingClientRect().left;
      this._read(this._frame ? this._nearest(this._frame.valueX(x)) : null);
    });
    this._svg.addEventListener("pointerleave", () => document.activeElement !== this._svg && this._read(null));
    this._svg.addEventListener("blur", () => this._read(null));
    this._svg.addEventListener("keydown", (event) => {
      const last = this._steps.length - 1;
      const now = this._at === null ? -1 : this._steps.indexOf(this._at);
      const pages = Math.max(1, Math.round(last / 10));
      const to = { ArrowRight: now + 1, ArrowLeft: now < 0 ? last : now - 1, PageUp: now + pages, PageDown: now - pages, Home: 0, End: last }[event.key];
      if (event.key === "Escape") this._read(null);
      if (to === undefined || last < 0) return;
      event.preventDefault();
      this._read(this._steps[Math.min(last, Math.max(0, to))]);
    });
  }

  _nearest(x) {
    return this._steps.reduce((best, each) => (best === null || Math.abs(each - x) < Math.abs(best - x) ? each : best), null);
  }

  _colour(index) {
    return `var(--series-${(index % 6) + 1})`;
  }

  _drawable(value) {
    return value !== null && value !== undefined && Number.isFinite(value) && (!this.options.yLog || value > 0);
  }

  // The ranges that are drawn: as asked, else all data and marks, with a little room above and below.
  _ranges() {
    const { xRange, yRange, yLog, marks } = this.options;
    const over = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    const ys = this._series.flatMap((each) => Array.from(each.y).filter((value) => this._drawable(value)));
    ys.push(...marks.map((mark) => mark.y).filter((value) => this._drawable(value)));
    let x = xRange || over(this._steps);
    let y = yRange || over(ys);
    if (!(x[1] >= x[0])) x = [0, 1];
    if (!(y[1] >= y[0])) y = yLog ? [0.1, 1] : [0, 1];
    if (x[0] === x[1]) x = [x[0] - 0.5, x[1] + 0.5];
    if (yRange) return [x, y];
    if (yLog) return [x, [y[0] / 1.2, y[1] * 1.2]];
    const room = 0.05 * (y[1] - y[0]) || Math.abs(y[0]) * 0.1 || 0.5;
    return [x, [y[0] - room, y[1] + room]];
  }

  _draw() {
    const width = Math.floor(this.root.clientWidth);
    if (width < 1) return;
    const height = Math.max(200, Math.min(340, Math.round(width * 0.55)));
    const [x, y] = this._ranges();
    const log = this.options.yLog;
    const yTicks = Wedge.ticks(y[0], y[1], 5, log);
    const labels = yTicks.map((tick) => Wedge.numberText(tick));
    const left = 26 + 7 * Math.max(2, ...labels.map((text) => text.length));
    const frame = { left, right: width - 14, top: 10, bottom: height - 42 };
    const scaled = (value) => (log ? Math.log10(value) : value);
    frame.x = (value) => frame.left + ((value - x[0]) / (x[1] - x[0])) * (frame.right - frame.left);
    frame.y = (value) => frame.bottom - ((scaled(value) - scaled(y[0])) / (scaled(y[1]) - scaled(y[0]))) * (frame.bottom - frame.top);
    frame.valueX = (place) => x[0] + ((place - frame.left) / (frame.right - frame.left)) * (x[1] - x[0]);
    this._frame = frame;
    this._svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this._svg.setAttribute("height", height);
    const id = (this._clip = this._clip || `wedge-clip-${(Wedge.clips = (Wedge.clips || 0) + 1)}`);
    const clip = Wedge.svg("clipPath", { id });
    clip.append(Wedge.svg("rect", { x: left - 6, y: frame.top - 6, width: frame.right - left + 12, height: frame.bottom - frame.top + 12 }));
    const drawn = Wedge.svg("g", { "clip-path": `url(#${id})` });
    this._series.forEach((series) => this._drawSeries(drawn, series, series.colour));
    this._cursor = Wedge.svg("g", {});
    this._svg.replaceChildren(clip, this._axes(frame, x, yTicks, labels), drawn, this._drawMarks(frame), this._cursor);
    this._read(this._at);
  }

  _axes(frame, x, yTicks, labels) {
    const { left, right, top, bottom } = frame;
    const group = Wedge.svg("g", {});
    yTicks.forEach((tick, i) => {
      const place = frame.y(tick);
      group.append(Wedge.svg("line", { x1: left, x2: right, y1: place, y2: place, class: "grid" }));
      group.append(Wedge.svg("text", { x: left - 6, y: place + 4, "text-anchor": "end", class: "tick" }, labels[i]));
    });
    for (const tick of Wedge.ticks(x[0], x[1], Math.max(2, (right - left) / 90), false)) {
      const place = frame.x(tick);
      group.append(Wedge.svg("line", { x1: place, x2: place, y1: bottom, y2: bottom + 4, class: "axis" }));
      group.append(Wedge.svg("text", { x: place, y: bottom + 17, "text-anchor": "middle", class: "tick" }, Wedge.numberText(tick)));
    }
    group.append(Wedge.svg("path", { d: `M${left},${top}V${bottom}H${right}`, class: "axis" }));
    group.append(Wedge.svg("text", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, this.options.xLabel));
    const turned = `translate(13 ${(top + bottom) / 2}) rotate(-90)`;
    group.append(Wedge.svg("text", { transform: turned, "text-anchor": "middle" }, this.options.yLabel));
    return group;
  }

  _drawMarks(frame) {
    const { left, right, top, bottom } = frame;
    const group = Wedge.svg("g", {});
    for (const { x, y, label = "" } of this.options.marks) {
      const place = y === undefined ? frame.x(x) : frame.y(y);
      if (y === undefined ? place < left - 1 || place > right + 1 : place < top - 1 || place > bottom + 1) continue;
      const line = y === undefined ? { x1: place, x2: place, y1: top, y2: bottom } : { x1: left, x2: right, y1: place, y2: place };
      group.append(Wedge.svg("line", { ...line, class: "mark" }));
      const end = y !== undefined || place > (left + right) / 2;
      const at = y === undefined ? { x: place + (end ? -5 : 5), y: top + 11 } : { x: right - 2, y: place - 5 };
      group.append(Wedge.svg("text", { ...at, "text-anchor": end ? "end" : "start", class: "label" }, label));
    }
    return group;
  }

  _drawSeries(group, series, index) {
    const frame = this._frame;
    const points = Array.from(series.x, (x, i) => (this._drawable(series.y[i]) && Number.isFinite(x) ? [frame.x(x), frame.y(series.y[i])] : null));
    const colour = this._colour(index);
    const alone = (i) => points[i] && !points[i - 1] && !points[i + 1];
    if (series.style !== "points") {
      const path = points.map((point, i) => point && `${points[i - 1] ? "L" : "M"}${point[0].toFixed(2)},${point[1].toFixed(2)}`).filter(Boolean).join("");
      const dash = series.style === "dashed" ? "6 4" : Wedge.DASHES[index % Wedge.DASHES.length];
      const line = Wedge.svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash, "data-series": series.name });
      group.append(line);
    }
    points.forEach((point, i) => {
      if (!point || !(series.style === "points" || alone(i))) return;
      const marker = { d: Wedge.MARKERS[index % Wedge.MARKERS.length], transform: `translate(${point[0].toFixed(2)} ${point[1].toFixed(2)})` };
      group.append(Wedge.svg("path", { ...marker, fill: colour, stroke: colour, "data-series": series.name }));
    });
  }

  _writeLegend() {
    this._legend.replaceChildren();
    if (this._series.length < 2 && !(this._series[0] && this._series[0].name)) return;
    this._series.forEach((series) => {
      const index = series.colour;
      const item = this._legend.appendChild(document.createElement("li"));
      const swatch = Wedge.svg("svg", { viewBox: "0 0 34 14", "aria-hidden": "true" });
      const colour = this._colour(index);
      const dash = series.style === "dashed" ? "6 4" : Wedge.DASHES[index % Wedge.DASHES.length];
      const marker = { d: Wedge.MARKERS[index % Wedge.MARKERS.length], transform: "translate(17 7)", fill: colour, stroke: colour };
      const line = { x1: 1, x2: 33, y1: 7, y2: 7, stroke: colour, "stroke-width": 2, "stroke-dasharray": dash };
      swatch.append(series.style === "points" ? Wedge.svg("path", marker) : Wedge.svg("line", line));
      item.append(swatch, series.name || "");
    });
  }

  // The values of all series at one x, as text and as dots; null: none.
  _read(x) {
    this._at = x;
    if (!this._cursor) return;
    this._cursor.replaceChildren();
    if (x === null || !this._series.length) {
      this._output.textContent = "";
      return;
    }
    const frame = this._frame;
    this._cursor.append(Wedge.svg("line", { x1: frame.x(x), x2: frame.x(x), y1: frame.top, y2: frame.bottom, class: "guide" }));
    const parts = this._series.flatMap((series) => {
      const value = series.y[Array.from(series.x).indexOf(x)];
      if (value === undefined) return [];
      if (this._drawable(value)) {
        this._cursor.append(Wedge.svg("circle", { cx: frame.x(x), cy: frame.y(value), r: 4, fill: this._colour(series.colour), stroke: "var(--bg)" }));
      }
      return [`${series.name || this.options.yLabel} ${Wedge.numberText(value)}`];
    });
    this._output.textContent = `${this.options.xLabel} ${Wedge.numberText(x, 6)}: ${parts.join(", ")}`;
  }

  _writeTable() {
    const make = (tag, parent, text = null) => {
      const element = parent.appendChild(document.createElement(tag));
      if (text !== null) element.textContent = text;
      return element;
    };
    for (const old of this._details.querySelectorAll(".table-scroll")) old.remove();
    const scroll = make("div", this._details);
    scroll.className = "table-scroll";
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", `values of ${this.options.title || this.options.yLabel}`);
    const table = make("table", scroll);
    make("caption", table, `${this.options.title} (${this.options.yLabel})`);
    const head = make("tr", make("thead", table));
    for (const name of [this.options.xLabel, ...this._series.map((each) => each.name || this.options.yLabel)]) make("th", head, name).scope = "col";
    const body = make("tbody", table);
    const values = this._series.map((each) => new Map(Array.from(each.x, (x, i) => [x, each.y[i]])));
    for (const x of this._steps) {
      const row = make("tr", body);
      make("th", row, Wedge.numberText(x, 6)).scope = "row";
      for (const each of values) make("td", row, Wedge.numberText(each.get(x), 6));
    }
  }
};
