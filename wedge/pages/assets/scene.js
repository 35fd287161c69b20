// The 3-D view: a preview as a volume or a surface, turned by mouse, finger or keys. Needs vtk.min.js, surface.js, scene_camera.js,
// scene_drawing.js, scene_controls.js and scene.css.
"use strict";

var Wedge = window.Wedge || {};

(() => {
  const SETTLED_MS = 250; // after the last movement the picture is drawn in full
  const FRAME_MS = 60; // while moving, pictures are made coarse enough for this

  const WITHOUT = "No 3-D picture: this browser gives no WebGL2. The slices show the same volume.";

  Wedge.Scene = class {
    constructor(container, { label = "Volume" } = {}) {
      this.container = container;
      this.state = { mode: "volume", threshold: 0.5, invert: false };
      this.chosen = false; // whether somebody set the threshold: else it follows each preview
      this.place = Wedge.firstCamera();
      this.onCamera = null;
      this.coarse = 1;
      this.waiting = [];
      container.classList.add("wedge-scene");
      this.build(label);
      this.start();
    }

    build(label) {
      this.picture = document.createElement("div");
      this.picture.className = "wedge-scene-picture";
      this.picture.tabIndex = 0;
      this.picture.setAttribute("role", "application");
      this.picture.setAttribute("aria-roledescription", "3-D view");
      this.picture.setAttribute("aria-label", `${label}, 3-D view. ${Wedge.sceneKeys}`);
      this.letters = new Wedge.SceneLetters(this.picture);
      this.controls = new Wedge.SceneControls(this);
      this.message = document.createElement("p");
      this.message.className = "wedge-scene-message";
      this.message.setAttribute("role", "status");
      const keys = document.createElement("details");
      keys.className = "wedge-scene-keys no-print";
      keys.append(Object.assign(document.createElement("summary"), { textContent: "Mouse and keys" }), Wedge.sceneHand);
      this.container.replaceChildren(this.controls.element, this.picture, this.message, keys);
      this.stopListening = Wedge.listenToHand(this.picture, this);
      this.observer = new ResizeObserver(() => this.resize());
      this.observer.observe(this.picture);
    }

    start() {
      this.lost = (event) => {
        event.preventDefault();
        this.say("The browser took the 3-D picture away, to draw another one. Press Reset to bring it back.");
        this.broken = true;
      };
      const renderer = Wedge.sceneRenderer();
      if (renderer === null) {
        this.drawing = null;
        this.container.classList.add("wedge-scene-without");
        this.say(WITHOUT);
        return;
      }
      this.drawing = new Wedge.SceneDrawing(this.picture, renderer, this.lost);
      this.broken = false;
      this.say("");
      this.resize();
    }

    say(text) {
      this.message.textContent = text;
      this.message.hidden = text === "";
    }

    // Shows a preview; camera, mode, invert and a chosen threshold stay as they are.
    show(preview) {
      this.preview = preview;
      if (!this.chosen) this.state.threshold = Wedge.sensibleThreshold(preview.codes, this.state.invert);
      if (!this.drawing) return;
      this.drawing.setPreview(preview);
      // Of a picture that the browser took away, what was said of it is still true.
      if (!this.broken) this.say(this.drawing.empty ? "All values of this volume are equal: there is nothing to be seen but its box." : "");
      this.changed();
    }

    setMode(mode) {
      if (mode !== "volume" && mode !== "surface") throw new RangeError(`mode is "volume" or "surface", not ${mode}`);
      this.state.mode = mode;
      this.changed();
    }

    // A fraction 0..1 of the codes, counted from the other end when inverted: what is below is not shown.
    setThreshold(threshold) {
      if (!(threshold >= 0 && threshold <= 1)) throw new RangeError(`threshold is a number from 0 to 1, not ${threshold}`);
      this.chosen = true;
      this.state.threshold = threshold;
      this.changed();
    }

    // Shows low densities as objects instead of high ones.
    setInvert(invert) {
      this.state.invert = Boolean(invert);
      if (!this.chosen && this.preview) this.state.threshold = Wedge.sensibleThreshold(this.preview.codes, this.state.invert);
      this.changed();
    }

    changed() {
      this.controls.update();
      if (!this.drawing) return;
      this.relook = true; // once a frame, however often a slider moves
      this.draw();
    }

    camera() {
      return structuredClone(this.place);
    }

    setCamera(camera) {
      this.place = Wedge.checkedCamera(camera);
      this.draw();
    }

    // As setCamera, by the user's hand: coarse until it rests, and told to onCamera.
    move(camera) {
      this.place = Wedge.checkedCamera(camera);
      this.moving = performance.now();
      this.draw();
      if (this.onCamera) this.onCamera(this.camera());
    }

    look(axis) {
      this.move(Wedge.viewCamera(axis));
    }

    // As move, after another scene's hand.
    follow(camera) {
      this.place = Wedge.checkedCamera(camera);
      this.moving = performance.now();
      this.draw();
    }

    reset() {
      if (this.broken) this.restart();
      this.chosen = false;
      if (this.preview) this.state.threshold = Wedge.sensibleThreshold(this.preview.codes, this.state.invert);
      this.move(Wedge.firstCamera());
      this.changed();
    }

    restart() {
      this.drawing.dispose(this.lost);
      this.start();
      if (this.drawing && this.preview) this.show(this.preview);
    }

    resize() {
      this.draw();
    }

    // Resolves when everything asked for is drawn.
    get ready() {
      if (!this.drawing || !this.frame) return Promise.resolve();
      return new Promise((resolve) => this.waiting.push(resolve));
    }

    draw() {
      if (!this.drawing || this.frame) return;
      this.frame = requestAnimationFrame(() => this.drawFrame());
    }

    drawFrame() {
      this.frame = 0;
      if (this.broken || !this.preview || this.picture.clientWidth === 0) return this.settle();
      const moving = this.moving !== undefined && performance.now() - this.moving < SETTLED_MS;
      const began = performance.now();
      this.drawNow(moving ? this.coarse : 1);
      if (!moving) return this.settle();
      // The next one waits for this one, and is as coarse as this one's time wants it.
      this.frame = 1;
      this.drawing.finished(() => {
        if (!this.drawing) return;
        const factor = Math.sqrt((performance.now() - began) / FRAME_MS);
        this.coarse = Math.min(6, Math.max(1, this.coarse * Math.min(2, Math.max(0.7, factor))));
        if (this.coarse > 3 && !this.drawing.slow) this.drawing.hurry();
        this.frame = requestAnimationFrame(() => this.drawFrame());
      });
    }

    drawNow(coarse) {
      const { clientWidth: width, clientHeight: height } = this.picture;
      const ratio = this.drawing.slow ? 1 : Math.min(2, window.devicePixelRatio || 1);
      if (this.relook) this.drawing.setLook({ ...this.state });
      this.relook = false;
      this.drawing.resize((width * ratio) / coarse, (height * ratio) / coarse);
      this.drawing.draw(this.place);
      this.letters.update(this.place, this.preview, this.drawing, width, height);
    }

    settle() {
      this.moving = undefined;
      for (const resolve of this.waiting.splice(0)) resolve();
    }

    // What is seen now, in full: {width, height, data}; RGBA, the first row on top.
    pixels() {
      this.drawNow(1);
      return this.drawing.pixels();
    }

    destroy() {
      cancelAnimationFrame(this.frame);
      this.observer.disconnect();
      this.stopListening();
      if (this.drawing) this.drawing.dispose(this.lost);
      this.drawing = null;
      this.preview = null;
      this.settle();
      this.container.replaceChildren();
      this.container.classList.remove("wedge-scene", "wedge-scene-without");
    }
  };

  // Lets several scenes show the same side: each follows the one that is turned.
  Wedge.linkScenes = function (scenes) {
    for (const scene of scenes)
      scene.onCamera = (camera) => {
        for (const other of scenes) if (other !== scene) other.follow(camera);
      };
  };
})();
