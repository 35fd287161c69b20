// One plane of a coarse volume on a canvas: grey values or signed colours, a cross-hair, a scale bar. Used by slices.js.
"use strict";

var Wedge = window.Wedge || {};

// Colours of 0..1 as [red, green, blue] of 0..255. Differences go from blue over white to orange-red: told apart by the colour-blind too.
Wedge.palettes = {
  grey: (t) => [255 * t, 255 * t, 255 * t],
  difference: (t) => {
    const end = t < 0.5 ? [12, 74, 160] : [186, 62, 0];
    const share = Math.abs(2 * t - 1);
    return end.map((value) => 255 + (value - 255) * share);
  },
};

// Returns 256 colours, [r, g, b] of each code in a row, for codes that mean low..high when windowLow..windowHigh are shown.
Wedge.lookUpTable = function (palette, low, high, windowLow, windowHigh, invert) {
  const table = new Uint8ClampedArray(256 * 3);
  const span = windowHigh - windowLow || 1e-12;
  for (let code = 0; code < 256; code++) {
    const density = low + ((high - low) * code) / 255;
    const t = Math.min(1, Math.max(0, (density - windowLow) / span));
    table.set(palette(invert ? 1 - t : t).map(Math.round), 3 * code);
  }
  return table;
};

// A round length of 1, 2 or 5 times a power of ten, at most the given one.
Wedge.roundLength = function (most) {
  const power = Math.pow(10, Math.floor(Math.log10(most)));
  return [5, 2, 1].map((factor) => factor * power).find((length) => length <= most * 1.0000001) || power;
};

Wedge.lengthText = function (angstrom) {
  if (angstrom >= 10000) return `${+(angstrom / 10000).toPrecision(6)} µm`;
  return angstrom >= 10 ? `${+(angstrom / 10).toPrecision(6)} nm` : `${+angstrom.toPrecision(6)} Å`;
};

// normal, down and right are the axes 0 (z), 1 (y), 2 (x). The first row is on top, as in the pictures that wedge writes.
Wedge.Plane = class {
  constructor(normal, down, right) {
    Object.assign(this, { normal, down, right });
    this.canvas = document.createElement("canvas");
    this.source = document.createElement("canvas");
  }

  // Sets the size on the page, in CSS pixels; the canvas has the pixels of the screen.
  resize(width, height) {
    const ratio = window.devicePixelRatio || 1;
    this.width = width;
    this.height = height;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
  }

  // Takes one plane of the codes through a table of colours.
  load(preview, index, table) {
    const { shape, codes } = preview;
    const strides = [shape[1] * shape[2], shape[2], 1];
    const rows = shape[this.down];
    const columns = shape[this.right];
    this.source.width = columns;
    this.source.height = rows;
    const context = this.source.getContext("2d");
    const image = context.createImageData(columns, rows);
    let place = 0;
    for (let row = 0; row < rows; row++) {
      let from = index * strides[this.normal] + row * strides[this.down];
      for (let column = 0; column < columns; column++, from += strides[this.right]) {
        const colour = 3 * codes[from];
        image.data[place++] = table[colour];
        image.data[place++] = table[colour + 1];
        image.data[place++] = table[colour + 2];
        image.data[place++] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  // Paints it with the cross-hair at fractions of its height and width; bar is {share of the width, text} or null.
  paint(downFraction, rightFraction, bar) {
    const { canvas } = this;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.source, 0, 0, canvas.width, canvas.height);
    const ratio = canvas.width / this.width;
    const x = rightFraction * canvas.width;
    const y = downFraction * canvas.height;
    const gap = 7 * ratio; // what is under the cross-hair stays visible
    for (const [width, colour] of [[3, "rgba(0, 0, 0, 0.55)"], [1, "#ffd84d"]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * ratio;
      context.beginPath();
      for (const [x0, y0, x1, y1] of [[0, y, x - gap, y], [x + gap, y, canvas.width, y], [x, 0, x, y - gap], [x, y + gap, x, canvas.height]]) {
        if (x1 < x0 || y1 < y0) continue;
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
      }
      context.stroke();
    }
    if (bar) this._paintBar(context, bar, ratio);
  }

  _paintBar(context, bar, ratio) {
    const { canvas } = this;
    const length = bar.share * canvas.width;
    const left = 10 * ratio;
    const bottom = canvas.height - 10 * ratio;
    context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    const text = context.measureText(bar.text).width;
    context.fillStyle = "rgba(0, 0, 0, 0.65)";
    context.fillRect(left - 5 * ratio, bottom - 22 * ratio, Math.max(length, text) + 10 * ratio, 27 * ratio);
    context.fillStyle = "#ffffff";
    context.fillRect(left, bottom - 4 * ratio, length, 4 * ratio);
    context.fillText(bar.text, left, bottom - 8 * ratio);
  }
};
