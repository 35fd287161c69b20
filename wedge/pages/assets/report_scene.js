// The 3-D view of a report: one scene, made when it is first looked at, that shows one volume at a time.
"use strict";

var Wedge = window.Wedge || {};

Wedge.ReportScene = class {
  constructor(controls, view, labels, previews) {
    this.view = view;
    this.labels = labels;
    this.previews = previews;
    this.scene = null;
    if (!Wedge.Scene) {
      view.textContent = "There is no 3-D view in this report.";
      return;
    }
    const label = document.createElement("label");
    label.append("Volume ");
    this.select = document.createElement("select");
    this.select.setAttribute("aria-label", "Volume in 3-D");
    labels.forEach((name, place) => this.select.append(new Option(name, place)));
    this.select.value = labels.length - 1;
    this.select.addEventListener("change", () => this.show());
    label.append(this.select);
    controls.append(label);
    // A scene takes memory of the graphics card: none before anybody looks.
    this._observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      this._observer.disconnect();
      this.show();
    });
    this._observer.observe(view);
    window.addEventListener("beforeprint", () => this.still());
  }

  show() {
    if (!this.scene) this.scene = new Wedge.Scene(this.view, { label: "the chosen volume" });
    this.scene.show(this.previews[Number(this.select.value)]);
  }

  // A still picture of what is seen now, for paper: what a graphics card draws is not printed.
  still() {
    if (!Wedge.Scene) return;
    if (!this.scene) this.show();
    if (!this.scene.drawing) return;
    const { width, height, data } = this.scene.pixels();
    if (!this.paper) this.paper = this.view.parentNode.appendChild(document.createElement("canvas"));
    Object.assign(this.paper, { className: "report-still", width, height });
    this.paper.setAttribute("role", "img");
    this.paper.setAttribute("aria-label", `3-D view of ${this.labels[Number(this.select.value)]}`);
    this.paper.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(data), width, height), 0, 0);
  }
};
