// The pictures of a report: slices of all volumes under one cursor and one contrast, differences to the first, spectra, the spread.
"use strict";

var Wedge = window.Wedge || {};

// Bytes of a script element that holds them deflated and in base64.
Wedge.unpack = async function (text) {
  const packed = Uint8Array.from(window.atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
};

Wedge.density = (preview, code) => preview.low + ((preview.high - preview.low) * code) / 255;

// What each volume has more than the first, as previews of one signed scale; most is what the strongest colours mean at first.
Wedge.differences = function (previews) {
  const [first, ...others] = previews;
  const tables = previews.map((preview) => Float64Array.from({ length: 256 }, (_, code) => Wedge.density(preview, code)));
  const counts = new Float64Array(512);
  let most = 0;
  const maps = others.map((preview, i) => {
    const map = new Float32Array(preview.codes.length);
    for (let place = 0; place < map.length; place++) {
      map[place] = tables[i + 1][preview.codes[place]] - tables[0][first.codes[place]];
      most = Math.max(most, Math.abs(map[place]));
    }
    return map;
  });
  most = most || 1;
  for (const map of maps) for (const value of map) counts[Math.min(511, Math.floor((511 * Math.abs(value)) / most))] += 1;
  let within = 0;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const level = counts.findIndex((count) => (within += count) >= 0.995 * total);
  const shown = (most * (level + 1)) / 511;
  return maps.map((map, i) => {
    const codes = Uint8Array.from(map, (value) => Math.round(127.5 + (127.5 * value) / most));
    return { ...others[i], codes, low: -most, high: most, window: [-shown, shown] };
  });
};

Wedge.ReportPictures = class {
  constructor(controls, labels) {
    this.labels = labels;
    this.cursor = { z: 0.5, y: 0.5, x: 0.5 };
    this.greys = [];
    this.signed = [];
    this.others = [];
    this._build(controls);
  }

  get all() {
    return [...this.greys, ...this.signed, ...this.others];
  }

  // Fills the cells of a kind; returns what shows them.
  fill(kind, previews, map = "grey") {
    return Array.from(document.querySelectorAll(`.report-${kind}`), (cell, place) => {
      // Not what the cell says: its still pictures, for who has no scripts, are text to scripts.
      const name = kind === "spread" ? "spread" : kind === "difference" ? `${this.labels[place + 1]} minus ${this.labels[0]}` : this.labels[place];
      for (const still of cell.querySelectorAll("noscript")) still.remove();
      const slices = new Wedge.Slices(cell, { label: name });
      // Many volumes move at once: what is under the cursor is read where one moves it, not announced for each.
      for (const output of cell.querySelectorAll("output")) output.setAttribute("aria-live", "off");
      slices.show(previews[place], { map });
      slices.onCursor = (cursor) => this.moveTo(cursor);
      return slices;
    });
  }

  show(previews, spread) {
    this.previews = previews;
    this.greys = this.fill("slices", previews);
    this.signed = previews.length > 1 ? this.fill("difference", Wedge.differences(previews), "difference") : [];
    this.others = spread ? this.fill("spread", [spread]) : [];
    this.reset();
    this.moveTo(this.cursor);
  }

  moveTo(cursor) {
    Object.assign(this.cursor, cursor);
    for (const slices of this.all) slices.setCursor(this.cursor);
    const { shape, spacing, sizeAngstrom } = this.previews[0];
    ["z", "y", "x"].forEach((axis, i) => {
      const index = Math.min(shape[i] - 1, Math.floor(this.cursor[axis] * shape[i]));
      const voxel = (index + 0.5) * spacing[i] - 0.5;
      const length = sizeAngstrom ? ` (${Math.round((voxel * sizeAngstrom[i]) / spacing[i])} Å)` : "";
      const told = `voxel ${Math.round(voxel)}${length}`;
      const slider = this.places[axis];
      slider.max = shape[i] - 1;
      slider.value = index;
      this._tell(slider, told);
    });
  }

  // Contrast in densities of the first; of others the same, or each one's own.
  setWindow(low, high) {
    this.window = [low, high];
    const first = this.previews[0];
    const own = this.sharing.value === "own";
    const [from, to] = first.window;
    const share = (value) => (value - from) / (to - from || 1);
    this.greys.forEach((slices, i) => {
      const [a, b] = this.previews[i].window;
      const ends = own ? [low, high].map((value) => a + share(value) * (b - a)) : [low, high];
      slices.setWindow(...ends);
      slices.setInvert(this.invert.checked);
    });
    [low, high].forEach((density, i) => {
      const slider = this.ends[i];
      slider.value = Math.round((1000 * (density - this.lowest)) / (this.highest - this.lowest || 1));
      this._tell(slider, String(+density.toPrecision(4)));
    });
  }

  setDifference(most) {
    for (const slices of this.signed) slices.setWindow(-most, most);
    this._tell(this.span, `± ${+most.toPrecision(4)}`);
  }

  reset() {
    this.lowest = Math.min(...this.previews.map((preview) => preview.low));
    this.highest = Math.max(...this.previews.map((preview) => preview.high));
    this.setWindow(...this.previews[0].window);
    this.span.closest("label").hidden = !this.signed.length;
    if (!this.signed.length) return;
    const { window, high } = this.signed[0]._preview;
    this.span.value = Math.round((1000 * window[1]) / high);
    this.setDifference(window[1]);
  }

  _tell(slider, text) {
    slider.told.textContent = text;
    slider.setAttribute("aria-valuetext", text);
  }

  _build(controls) {
    const make = (tag, parent, text = "") => Object.assign(parent.appendChild(document.createElement(tag)), { textContent: text });
    const group = (title) => {
      const set = make("fieldset", controls);
      make("legend", set, title);
      return set;
    };
    const slider = (parent, name, most, change) => {
      const label = make("label", parent);
      make("span", label, name);
      const range = Object.assign(make("input", label), { type: "range", min: 0, max: most, value: 0 });
      range.setAttribute("aria-label", `${name} of all volumes`);
      range.told = Object.assign(make("span", label), { className: "number" });
      range.addEventListener("input", () => change(Number(range.value)));
      return range;
    };
    controls.className = "report-controls no-print";
    const place = group("Place in all volumes");
    const move = (axis, i) => (value) => this.moveTo({ [axis]: (value + 0.5) / this.previews[0].shape[i] });
    this.places = Object.fromEntries(["z", "y", "x"].map((axis, i) => [axis, slider(place, axis, 0, move(axis, i))]));
    const contrast = group("Contrast of all volumes");
    const density = (value) => this.lowest + ((this.highest - this.lowest) * value) / 1000;
    this.ends = [
      slider(contrast, "black", 1000, (value) => this.setWindow(Math.min(density(value), this.window[1]), this.window[1])),
      slider(contrast, "white", 1000, (value) => this.setWindow(this.window[0], Math.max(density(value), this.window[0]))),
    ];
    this.span = slider(contrast, "differences", 1000, (value) => this.setDifference((Math.max(1, value) * this.signed[0]._preview.high) / 1000));
    const row = Object.assign(make("div", contrast), { className: "toolbar" });
    const sharing = make("label", row, "Densities ");
    this.sharing = make("select", sharing);
    this.sharing.append(new Option("shared", "shared"), new Option("each its own", "own"));
    this.sharing.addEventListener("change", () => this.setWindow(...this.window));
    const inverting = make("label", row);
    this.invert = Object.assign(make("input", inverting), { type: "checkbox" });
    inverting.append("invert");
    this.invert.addEventListener("change", () => this.setWindow(...this.window));
    const reset = Object.assign(make("button", row, "Reset contrast"), { type: "button" });
    reset.addEventListener("click", () => this.reset());
  }
};
