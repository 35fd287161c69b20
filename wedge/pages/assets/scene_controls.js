// What surrounds the 3-D picture: its toolbar, the hand that turns it, the letters of its axes and its scale bar.
"use strict";

var Wedge = window.Wedge || {};

(() => {
  const TURN_PER_PIXEL = 0.008;
  const TURN_PER_KEY = Math.PI / 24;
  const PAN_PER_KEY = 0.08;
  const ZOOM_PER_KEY = 1.15;

  Wedge.sceneKeys =
    "Arrow keys turn, with Shift they move, plus and minus zoom, x, y and z look along an axis, v and s choose volume or surface, " +
    "i inverts, 0 resets.";
  Wedge.sceneHand =
    "Drag to turn, with Shift or the right button to move; the wheel zooms once the picture was clicked, before that with Ctrl; so do two fingers. " + Wedge.sceneKeys;

  const element = (name, attributes, ...children) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.append(...children);
    return made;
  };

  Wedge.SceneControls = class {
    constructor(scene) {
      this.scene = scene;
      const button = (text, title, act) => element("button", { type: "button", textContent: text, title, onclick: act });
      this.modes = {
        volume: button("Volume", "see through the volume (v)", () => scene.setMode("volume")),
        surface: button("Surface", "the surface at the threshold (s)", () => scene.setMode("surface")),
      };
      this.threshold = element("input", { type: "range", min: "0", max: "1", step: "0.005" });
      this.threshold.addEventListener("input", () => scene.setThreshold(Number(this.threshold.value)));
      this.value = element("output", { className: "number" });
      this.invert = element("input", { type: "checkbox", onchange: () => scene.setInvert(this.invert.checked) });
      const views = Object.keys(Wedge.sceneViews).map((axis) => button(axis, `look along ${axis} (${axis})`, () => scene.look(axis)));
      this.element = element(
        "div",
        { className: "toolbar wedge-scene-toolbar" },
        element("span", { className: "wedge-scene-group" }, this.modes.volume, this.modes.surface),
        element("label", {}, "Threshold ", this.threshold, this.value),
        element("label", { title: "low densities are the objects (i)" }, this.invert, " Invert"),
        element("span", { className: "wedge-scene-group" }, "Look along ", ...views),
        button("Reset", "view and threshold as at first (0)", () => scene.reset()),
      );
      this.element.setAttribute("role", "toolbar");
      this.element.setAttribute("aria-label", "3-D view");
    }

    update() {
      const { mode, threshold, invert } = this.scene.state;
      for (const [name, button] of Object.entries(this.modes)) button.setAttribute("aria-pressed", String(name === mode));
      this.threshold.value = String(threshold);
      this.invert.checked = invert;
      const { preview } = this.scene;
      if (!preview) return;
      const density = preview.low + (preview.high - preview.low) * (invert ? 1 - threshold : threshold);
      const text = `${invert ? "≤" : "≥"} ${+density.toPrecision(4)}`;
      this.value.textContent = text;
      this.threshold.setAttribute("aria-valuetext", `density ${text}`);
    }
  };

  // Turns a scene by pointer, wheel and keys; returns what ends it. The wheel scrolls the page until the picture has the focus.
  Wedge.listenToHand = function (picture, scene) {
    const held = new Map(); // pointers that are down: where they were seen last, and whether they move instead of turning
    const apart = () => {
      const [a, b] = [...held.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    const release = (event) => held.delete(event.pointerId);
    const zoom = (by) => scene.move({ ...scene.place, zoom: Math.min(50, Math.max(0.2, scene.place.zoom * by)) });
    const pan = (right, up) => scene.move({ ...scene.place, pan: [scene.place.pan[0] + right, scene.place.pan[1] + up] });
    const turn = (right, down) => scene.move(Wedge.turnedCamera(scene.place, right, down));
    const listeners = {
      pointerdown(event) {
        if (event.button > 2) return;
        held.set(event.pointerId, { x: event.clientX, y: event.clientY, pan: event.button !== 0 || event.shiftKey });
        picture.setPointerCapture(event.pointerId);
        picture.focus({ preventScroll: true });
        event.preventDefault();
      },
      pointermove(event) {
        const pointer = held.get(event.pointerId);
        if (!pointer) return;
        const [right, down] = [event.clientX - pointer.x, event.clientY - pointer.y];
        const before = held.size === 2 ? apart() : 0;
        [pointer.x, pointer.y] = [event.clientX, event.clientY];
        const radii = 2 / (Math.min(picture.clientWidth, picture.clientHeight) * scene.place.zoom);
        if (before > 0) zoom(apart() / before); // two fingers
        else if (held.size > 1) return;
        else if (pointer.pan) pan(right * radii, -down * radii);
        else turn(right * TURN_PER_PIXEL, down * TURN_PER_PIXEL);
      },
      pointerup: release,
      pointercancel: release,
      contextmenu: (event) => event.preventDefault(),
      wheel(event) {
        if (!event.ctrlKey && document.activeElement !== picture) return;
        event.preventDefault();
        zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(0.3, Math.abs(event.deltaY) / 500)));
      },
      keydown(event) {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const act = keys(event.shiftKey)[event.key];
        if (!act) return;
        event.preventDefault();
        act();
      },
    };
    const keys = (shift) => ({
      ArrowLeft: () => (shift ? pan(-PAN_PER_KEY, 0) : turn(-TURN_PER_KEY, 0)),
      ArrowRight: () => (shift ? pan(PAN_PER_KEY, 0) : turn(TURN_PER_KEY, 0)),
      ArrowUp: () => (shift ? pan(0, PAN_PER_KEY) : turn(0, -TURN_PER_KEY)),
      ArrowDown: () => (shift ? pan(0, -PAN_PER_KEY) : turn(0, TURN_PER_KEY)),
      "+": () => zoom(ZOOM_PER_KEY),
      "=": () => zoom(ZOOM_PER_KEY),
      "-": () => zoom(1 / ZOOM_PER_KEY),
      0: () => scene.reset(),
      Home: () => scene.reset(),
      v: () => scene.setMode("volume"),
      s: () => scene.setMode("surface"),
      i: () => scene.setInvert(!scene.state.invert),
      x: () => scene.look("x"),
      y: () => scene.look("y"),
      z: () => scene.look("z"),
    });
    for (const [name, listener] of Object.entries(listeners)) picture.addEventListener(name, listener, { passive: false });
    return () => {
      for (const [name, listener] of Object.entries(listeners)) picture.removeEventListener(name, listener);
    };
  };

  // The letters x, y, z at the ends of the box's edges, and a scale bar.
  Wedge.SceneLetters = class {
    constructor(picture) {
      this.letters = ["x", "y", "z"].map((axis) => element("span", { className: "wedge-scene-letter", textContent: axis }));
      this.bar = element("span", { className: "wedge-scene-bar" });
      this.element = element("div", { className: "wedge-scene-letters" }, ...this.letters, this.bar);
      this.element.setAttribute("aria-hidden", "true");
      picture.append(this.element);
    }

    update(camera, preview, { size, radius }, width, height) {
      const pixels = (Math.min(width, height) / 2 / radius) * camera.zoom; // of the page, per length
      // Each letter beyond the end of its edge, from the corner of the first voxel.
      this.letters.forEach((letter, axis) => {
        const end = size.map((length, each) => (each === axis ? length / 2 + 0.06 * radius : -length / 2));
        const [right, up] = Wedge.seenAt(camera, radius, end);
        letter.style.transform = `translate(-50%, -50%) translate(${width / 2 + right * pixels}px, ${height / 2 - up * pixels}px)`;
      });
      // The bar: a round length of at most a quarter of the width; spacing counts voxels where nobody knows their size.
      const voxel = preview.sizeAngstrom ? preview.sizeAngstrom[2] / preview.spacing[2] : null;
      const most = (width / 4 / pixels) * (voxel ?? 1);
      const power = 10 ** Math.floor(Math.log10(most));
      const length = [5, 2, 1].map((factor) => factor * power).find((each) => each <= most) ?? power;
      this.bar.style.width = `${(length / (voxel ?? 1)) * pixels}px`;
      this.bar.textContent = voxel ? (length >= 10 ? `${+(length / 10).toPrecision(3)} nm` : `${length} Å`) : `${length} voxels`;
    }
  };
})();
