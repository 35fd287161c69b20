// Three linked orthoslices of a coarse volume. Needs svg.js and plane.js.
//   const slices = new Wedge.Slices(container, {label}); slices.show(preview, {map: "grey" | "difference"});
//   slices.setCursor({z, y, x}), slices.cursor(), slices.onCursor, slices.setWindow(low, high), slices.window(), slices.setInvert(true),
//   Wedge.linkSlices([slices, ...]).
"use strict";

var Wedge = window.Wedge || {};

Wedge.AXES = ["z", "y", "x"];

Wedge.Slices = class {
  constructor(container, { label = "volume" } = {}) {
    this.label = label;
    this.onCursor = null;
    this.linked = null;
    this._cursor = [0.5, 0.5, 0.5];
    this._window = null; // what the user chose; else the preview's own
    this._invert = false;
    this._map = "grey";
    this._preview = null;
    this._build(container);
    this._unobserve = Wedge.observeWidth(this.root, () => this._layOut());
  }

  // Shows a volume; place and contrast that were chosen stay.
  show(preview, { map = "grey" } = {}) {
    this._preview = preview;
    this._map = map;
    this.root.dataset.map = map;
    preview.shape.forEach((count, axis) => {
      this._sliders[axis].max = count - 1;
      this._sliders[axis].disabled = count < 2;
    });
    this._layOut();
    this._draw();
  }

  cursor() {
    const [z, y, x] = this._cursor;
    return { z, y, x };
  }

  // Fractions of the box, from edge to edge; an axis that is left out stays.
  setCursor(cursor) {
    Wedge.AXES.forEach((name, axis) => {
      const value = Number(cursor[name]);
      if (cursor[name] !== undefined && Number.isFinite(value)) this._cursor[axis] = Math.min(1, Math.max(0, value));
    });
    this._draw();
  }

  // Densities that are shown as black and white. Differences are shown symmetric about 0.
  window() {
    if (this._window) return [...this._window];
    if (!this._preview) return [0, 1];
    const [low, high] = this._preview.window;
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    return this._map === "difference" ? [-most, most] : [low, high];
  }

  setWindow(low, high) {
    this._window = low === null || low === undefined ? null : [low, high];
    if (this._window && this._map === "difference") {
      const most = Math.max(Math.abs(low), Math.abs(high));
      this._window = [-most, most];
    }
    this._draw();
  }

  setInvert(invert) {
    this._invert = Boolean(invert);
    this._invertBox.checked = this._invert;
    this._draw();
  }

  destroy() {
    this._unobserve();
    this.root.remove();
  }

  // The voxel of the preview under the cursor, [z, y, x].
  _index() {
    return this._preview.shape.map((count, axis) => Math.min(count - 1, Math.floor(this._cursor[axis] * count)));
  }

  _build(container) {
    const make = (tag, name, parent) => Object.assign(parent.appendChild(document.createElement(tag)), { className: name });
    this.root = make("div", "wedge-slices", container);
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", `orthoslices of ${this.label}`);
    const planes = (this._grid = make("div", "wedge-slices-planes", this.root));
    const views = [[0, 1, 2, "along the beam"], [1, 0, 2, "across the tilt axis"], [2, 0, 1, "along the tilt axis"]];
    this._planes = views.map(([normal, down, right, words]) => {
      const plane = new Wedge.Plane(normal, down, right);
      const figure = make("figure", "", planes);
      const letters = `${Wedge.AXES[right]} → ${Wedge.AXES[down]} ↓`;
      figure.dataset.plane = `${Wedge.AXES[down]}${Wedge.AXES[right]}`;
      figure.append(plane.canvas);
      make("figcaption", "", figure).textContent = `${letters} ${words}`;
      plane.figure = figure;
      this._listen(plane, words);
      return plane;
    });
    const side = make("div", "wedge-slices-side", planes);
    this._readout = make("output", "wedge-slices-readout", side);
    this._readout.setAttribute("aria-live", "polite");
    const controls = make("div", "wedge-slices-controls", side);
    this._sliders = Wedge.AXES.map((name, axis) => {
      const slider = this._slider(controls, name, `${name} of ${this.label}`, make);
      slider.addEventListener("input", () => this._moveTo(axis, Number(slider.value)));
      return slider;
    });
    this._ends = ["low", "high"].map((name, end) => {
      const slider = this._slider(controls, name, `${name === "low" ? "lower" : "upper"} end of contrast of ${this.label}`, make);
      slider.max = 255;
      slider.addEventListener("input", () => this._dragWindow(end, Number(slider.value)));
      return slider;
    });
    const bar = make("div", "toolbar", controls);
    const label = make("label", "", bar);
    this._invertBox = make("input", "", label);
    this._invertBox.type = "checkbox";
    this._invertBox.addEventListener("change", () => this._tell(() => this.setInvert(this._invertBox.checked)));
    label.append("invert");
    const reset = make("button", "", bar);
    reset.type = "button";
    reset.textContent = "reset contrast";
    reset.addEventListener("click", () => this._tell(() => this.setWindow(null)));
    this._colours = make("canvas", "wedge-slices-colours", side);
    this._colours.setAttribute("aria-hidden", "true");
  }

  _slider(parent, name, label, make) {
    const row = make("label", "wedge-slices-control", parent);
    make("span", "", row).textContent = name;
    const slider = make("input", "", row);
    slider.type = "range";
    slider.min = 0;
    slider.setAttribute("aria-label", label);
    slider.told = make("span", "number", row);
    return slider;
  }

  _listen(plane, words) {
    const { canvas } = plane;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `${this.label}, plane ${words}: arrow keys move the cross-hair, Page Up and Page Down change the plane`);
    const follow = (event) => {
      const box = canvas.getBoundingClientRect();
      const to = { [Wedge.AXES[plane.right]]: (event.clientX - box.left) / box.width };
      to[Wedge.AXES[plane.down]] = (event.clientY - box.top) / box.height;
      this._tell(() => this.setCursor(to));
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      follow(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) follow(event);
    });
    const steps = { ArrowLeft: ["right", -1], ArrowRight: ["right", 1], ArrowUp: ["down", -1], ArrowDown: ["down", 1] };
    Object.assign(steps, { PageUp: ["normal", 1], PageDown: ["normal", -1] });
    canvas.addEventListener("keydown", (event) => {
      if (!steps[event.key] || !this._preview || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const [which, step] = steps[event.key];
      this._moveTo(plane[which], this._index()[plane[which]] + step * (event.shiftKey ? 10 : 1));
    });
    // Only a plane that has the focus, and only as far as there are planes: the page must remain scrollable.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas || !this._preview || event.ctrlKey) return;
      const to = this._index()[plane.normal] + Math.sign(event.deltaY);
      if (to < 0 || to >= this._preview.shape[plane.normal]) return;
      event.preventDefault();
      this._moveTo(plane.normal, to);
    }, { passive: false });
  }

  // Goes to the middle of a voxel of the preview.
  _moveTo(axis, index) {
    const count = this._preview.shape[axis];
    const fraction = (Math.min(count - 1, Math.max(0, index)) + 0.5) / count;
    this._tell(() => this.setCursor({ [Wedge.AXES[axis]]: fraction }));
  }

  _dragWindow(end, code) {
    const { low, high } = this._preview;
    const to = this.window();
    to[end] = low + ((high - low) * code) / 255;
    if (this._map === "difference") to[1 - end] = -to[end];
    if (to[0] > to[1]) to[1 - end] = to[end];
    this._tell(() => this.setWindow(to[0], to[1]));
  }

  // Does what the user asked for, here and in what is linked.
  _tell(change) {
    change();
    if (this.linked) this.linked(this);
    if (this.onCursor) this.onCursor(this.cursor());
  }

  // Gives all planes one scale, so that voxels have the same size in each.
  _layOut() {
    if (!this._preview || !this.root.clientWidth) return;
    const [z, y, x] = this._preview.shape.map((count, axis) => count * this._preview.spacing[axis]);
    const width = this.root.clientWidth;
    const columns = width >= 400 ? 2 : 1;
    const height = Math.max(360, 0.8 * window.innerHeight);
    const scale = columns === 2 ? Math.min((width - 8) / (x + y), height / (y + z)) : Math.min(width / Math.max(x, y), height / Math.max(y, z));
    this._grid.dataset.columns = columns;
    for (const plane of this._planes) {
      const [down, right] = [plane.down, plane.right].map((axis) => Math.max(4, Math.round([z, y, x][axis] * scale)));
      plane.resize(right, down);
      plane.figure.style.width = `${right}px`;
    }
    // Beside the plane along the beam where there is room, else below all planes.
    this._grid.dataset.side = columns === 2 && width - x * scale - 8 >= 260 ? "beside" : "below";
    this._draw();
  }

  _draw() {
    const preview = this._preview;
    if (!preview || !this._planes[0].width) return;
    const [windowLow, windowHigh] = this.window();
    const palette = Wedge.palettes[this._map] || Wedge.palettes.grey;
    const table = Wedge.lookUpTable(palette, preview.low, preview.high, windowLow, windowHigh, this._invert);
    const index = this._index();
    for (const plane of this._planes) {
      plane.load(preview, index[plane.normal], table);
      plane.paint(this._cursor[plane.down], this._cursor[plane.right], plane.normal === 0 ? this._bar() : null);
    }
    this._write(index, windowLow, windowHigh);
    this._paintColours(palette);
  }

  // What the colours mean: the densities between the two ends of contrast, from left to right.
  _paintColours(palette) {
    this._colours.width = 256;
    this._colours.height = 1;
    const image = new ImageData(256, 1);
    for (let i = 0; i < 256; i++) image.data.set([...palette((this._invert ? 255 - i : i) / 255), 255], 4 * i);
    this._colours.getContext("2d").putImageData(image, 0, 0);
  }

  _bar() {
    const { sizeAngstrom, shape } = this._preview;
    if (!sizeAngstrom) return null;
    const width = sizeAngstrom[2] * shape[2];
    const length = Wedge.roundLength(width / 3);
    return { share: length / width, text: Wedge.lengthText(length) };
  }

  _write(index, windowLow, windowHigh) {
    const { shape, spacing, sizeAngstrom, codes, low, high } = this._preview;
    const code = codes[(index[0] * shape[1] + index[1]) * shape[2] + index[2]];
    const number = (value) => String(+value.toPrecision(4));
    const places = Wedge.AXES.map((name, axis) => {
      const voxel = Math.round((index[axis] + 0.5) * spacing[axis] - 0.5);
      const angstrom = sizeAngstrom && ((index[axis] + 0.5) * spacing[axis] - 0.5) * (sizeAngstrom[axis] / spacing[axis]);
      const text = sizeAngstrom ? `${voxel} (${Math.round(angstrom)} Å)` : String(voxel);
      this._sliders[axis].value = index[axis];
      this._sliders[axis].told.textContent = text;
      this._sliders[axis].setAttribute("aria-valuetext", `voxel ${text}`);
      return `${name} ${text}`;
    });
    this._readout.textContent = `${places.join(" · ")} · density ${number(low + ((high - low) * code) / 255)}`;
    [windowLow, windowHigh].forEach((density, end) => {
      this._ends[end].value = (255 * (density - low)) / (high - low || 1);
      this._ends[end].told.textContent = number(density);
      this._ends[end].setAttribute("aria-valuetext", `density ${number(density)}`);
    });
  }
};

// Makes volumes share the cursor, inversion and contrast. Contrast is shared in units of each one's own at first, since methods differ in
// scale; {contrast: "density"} shares the densities instead. A map of differences keeps its own contrast.
Wedge.linkSlices = function (all, { contrast = "own" } = {}) {
  const greys = () => all.filter((slices) => slices._map === "grey" && slices._preview);
  for (const each of all) {
    each.linked = (from) => {
      const cursor = from.cursor();
      const isGrey = greys().includes(from);
      for (const other of all) if (other !== from) other.setCursor(cursor);
      if (!isGrey) return;
      const [low, high] = from._preview.window;
      const span = high - low || 1e-12;
      for (const other of greys().filter((slices) => slices !== from)) {
        const [otherLow, otherHigh] = other._preview.window;
        const convert = (density) => otherLow + ((density - low) / span) * (otherHigh - otherLow);
        if (!from._window) other.setWindow(null);
        else other.setWindow(...(contrast === "density" ? from._window : from._window.map(convert)));
        if (other._invert !== from._invert) other.setInvert(from._invert);
      }
    };
  }
};
