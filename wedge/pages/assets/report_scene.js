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
    labels.forEach((name, place) => this.select.append(new Option(name, place)));
    this.select.value = labels.length > 1 ? 1 : 0;
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
  }

  show() {
    if (!this.scene) this.scene = new Wedge.Scene(this.view, { label: "the chosen volume" });
    this.scene.show(this.previews[Number(this.select.value)]);
  }
};
