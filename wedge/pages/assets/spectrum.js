// The power spectrum in the plane of the beam, with the border of what the views measured. Needs svg.js.
//   new Wedge.Spectrum(container, {label}).show({shape: [nz, nx], codes, low, high, tiltRangeDeg: [lo, hi] | null})
"use strict";

var Wedge = window.Wedge || {};

// Magma at equal steps; between them lines.
Wedge.MAGMA = ["#000004", "#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961", "#fec488", "#fcfdbf"].map((hex) =>
  [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16)),
);

Wedge.magma = function (t) {
  const place = Math.min(1, Math.max(0, t)) * (Wedge.MAGMA.length - 1);
  const step = Math.min(Wedge.MAGMA.length - 2, Math.floor(place));
  return Wedge.MAGMA[step].map((value, i) => Math.round(value + (Wedge.MAGMA[step + 1][i] - value) * (place - step)));
};

// Ends of the line of a view in the unit square of frequencies, [right, down] from its middle: k (cos, sin), kz pointing down.
Wedge.viewLine = function (angleDeg) {
  const angle = (angleDeg * Math.PI) / 180;
  const direction = [Math.cos(angle), Math.sin(angle)];
  const longest = Math.max(...direction.map(Math.abs));
  return direction.map((part) => (0.5 * part) / longest);
};

// Where frequency 0 lies in a picture of so many pixels, in parts of it: in the middle of its own pixel, which of an even number is beside
// the middle of the picture.
Wedge.zeroFrequency = (count) => (Math.floor(count / 2) + 0.5) / count;

Wedge.Spectrum = class {
  constructor(container, { label = "volume" } = {}) {
    this.label = label;
    this.root = container.appendChild(document.createElement("figure"));
    this.root.className = "wedge-spectrum";
    this._spectrum = null;
    this._unobserve = Wedge.observeWidth(container, () => this._layOut());
    this._container = container;
  }

  show(spectrum) {
    this._spectrum = spectrum;
    this._width = 0;
    this._layOut();
  }

  destroy() {
    this._unobserve();
    this.root.remove();
  }

  _layOut() {
    const width = Math.min(360, Math.floor(this._container.clientWidth));
    if (!this._spectrum || width < 100 || width === this._width) return;
    this._width = width;
    const side = width - 44; // room for the ticks
    this.root.replaceChildren(this._picture(side), this._legend());
  }

  _picture(side) {
    const svg = Wedge.svg("svg", { width: side + 44, height: side + 40, viewBox: `-36 -4 ${side + 44} ${side + 40}`, role: "img" });
    const range = this._spectrum.tiltRangeDeg;
    const measured = range ? `, measured from ${range[0].toFixed(1)} to ${range[1].toFixed(1)} degrees` : "";
    svg.setAttribute("aria-label", `log power of ${this.label} over kx and kz${measured}`);
    const image = Wedge.svg("image", { x: 0, y: 0, width: side, height: side, preserveAspectRatio: "none", href: this._image() });
    image.style.imageRendering = "pixelated";
    svg.append(image);
    if (range) this._drawWedge(svg, side, range);
    svg.append(Wedge.svg("rect", { x: 0, y: 0, width: side, height: side, class: "axis" }));
    const [zeroDown, zeroRight] = this._spectrum.shape.map((count) => Wedge.zeroFrequency(count) * side);
    for (const frequency of [-0.5, 0, 0.5]) {
      const [right, down] = [zeroRight, zeroDown].map((zero) => zero + frequency * side);
      const text = String(frequency).replace("-", "−");
      const anchor = { "-0.5": "start", 0: "middle", 0.5: "end" }[frequency];
      svg.append(Wedge.svg("text", { x: Math.min(side, right), y: side + 14, "text-anchor": anchor, class: "tick" }, text));
      svg.append(Wedge.svg("text", { x: -4, y: Math.min(side, Math.max(10, down + 4)), "text-anchor": "end", class: "tick" }, text));
    }
    svg.append(Wedge.svg("text", { x: side / 2, y: side + 30, "text-anchor": "middle" }, "kx (cycles per voxel)"));
    svg.append(Wedge.svg("text", { x: -8, y: side / 4, "text-anchor": "end" }, "kz"));
    return svg;
  }

  // The codes as a picture of their own size: pixels stay pixels at any zoom, and in print.
  _image() {
    const [rows, columns] = this._spectrum.shape;
    const canvas = document.createElement("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    this._spectrum.codes.forEach((code, place) => image.data.set([...Wedge.magma(code / 255), 255], 4 * place));
    context.putImageData(image, 0, 0);
    return canvas.toDataURL("image/png");
  }

  _drawWedge(svg, side, range) {
    const [zeroDown, zeroRight] = this._spectrum.shape.map((count) => Wedge.zeroFrequency(count) * side);
    // As far as the picture goes, from zero in either direction.
    const room = (zero, part) => (part > 0 ? side - zero : zero) / (Math.abs(part) || 1e-9);
    for (const angle of range) {
      const line = Wedge.viewLine(angle);
      const [x1, y1, x2, y2] = [-1, 1].flatMap((sign) => {
        const [right, down] = line.map((part) => sign * part);
        const length = Math.min(side, room(zeroRight, right), room(zeroDown, down));
        return [zeroRight + right * length, zeroDown + down * length];
      });
      const ends = { x1, y1, x2, y2 };
      svg.append(Wedge.svg("line", { ...ends, stroke: "#000000", "stroke-width": 3, "stroke-opacity": 0.6 }));
      const dashed = { stroke: "#ffffff", "stroke-width": 1.5, "stroke-dasharray": "5 4", "data-angle": angle };
      svg.append(Wedge.svg("line", { ...ends, ...dashed }));
    }
  }

  _legend() {
    const { low, high, tiltRangeDeg } = this._spectrum;
    const list = document.createElement("ul");
    const add = (mark, text) => {
      const item = list.appendChild(document.createElement("li"));
      item.append(mark, text);
    };
    if (tiltRangeDeg) {
      const mark = Wedge.svg("svg", { width: 34, height: 14, "aria-hidden": "true" });
      mark.append(Wedge.svg("rect", { width: 34, height: 14, fill: "#51127c" }));
      mark.append(Wedge.svg("line", { x1: 2, y1: 7, x2: 32, y2: 7, stroke: "#ffffff", "stroke-width": 1.5, "stroke-dasharray": "5 4" }));
      const [from, to] = tiltRangeDeg.map((angle) => angle.toFixed(1).replace("-", "−"));
      add(mark, `views at ${from}° and ${to}°; nothing was measured above and below, in the missing wedge`);
    }
    const bar = Wedge.svg("svg", { width: 90, height: 14, "aria-hidden": "true" });
    for (let i = 0; i < 30; i++) {
      bar.append(Wedge.svg("rect", { x: 3 * i, width: 3.5, height: 14, fill: `rgb(${Wedge.magma(i / 29).join(",")})` }));
    }
    add(bar, `log10 power from ${low.toFixed(1).replace("-", "−")} to ${high.toFixed(1).replace("-", "−")}`);
    return list;
  }
};
