// What the drawn parts share: following a container's width, elements of SVG, numbers as text, ticks.
"use strict";

var Wedge = window.Wedge || {};

// Calls back whenever the width of an element has changed, once a frame: a part that answers by changing its height must not be
// asked about that again. Returns what ends it.
Wedge.observeWidth = function (element, callback) {
  let width = -1;
  let frame = 0;
  const observer = new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(callback);
  });
  observer.observe(element);
  return () => {
    observer.disconnect();
    cancelAnimationFrame(frame);
  };
};

// An element of SVG with attributes and, if any, text.
Wedge.svg = function (name, attributes = {}, text = null) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
};

// A number in as few digits as tell it from its neighbours.
Wedge.numberText = function (value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(Math.max(0, digits - 2)) : String(+value.toPrecision(digits));
  return text.replace(/\.?0+e/, "e").replace(/-/g, "−");
};

// Round values within a range: about count of them, or powers of ten.
Wedge.ticks = function (low, high, count, log) {
  if (log) {
    const [from, to] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const every = Math.max(1, Math.ceil((to - from) / count));
    const powers = [];
    for (let power = from; power <= to; power += every) powers.push(Math.pow(10, power));
    if (powers.length > 1) return powers;
  }
  const rough = (high - low) / Math.max(1, count);
  const power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(+(i * step).toPrecision(12));
  return found;
};
