// Draws a preview with vtk.js: as a volume seen through, or the surface at a threshold, in the outline of its box. Knows no page but a canvas.
"use strict";

var Wedge = window.Wedge || {};

(() => {
  const MOST_POINTS = 1200000; // of a surface: beyond it, a preview of half the size is drawn
  const COLOURS = { background: [0.07, 0.08, 0.1], box: [0.55, 0.6, 0.66], low: [0.2, 0.32, 0.5], high: [1, 0.97, 0.9], surface: [0.85, 0.78, 0.62] };

  // The codes at first to be shown, 0..1: what stands out of the many, or, where there are two kinds of codes, what divides them (Otsu).
  Wedge.sensibleThreshold = function (codes, invert) {
    const counts = new Float64Array(256);
    for (let i = 0; i < codes.length; i++) counts[codes[i]]++;
    if (invert) counts.reverse();
    const total = codes.length;
    const quantile = (share) => {
      let seen = 0;
      return counts.findIndex((count) => (seen += count) >= share * total);
    };
    const mean = counts.reduce((all, count, code) => all + count * code, 0) / total;
    let [best, otsu, from, below, moment] = [-1, 127.5, 0, 0, 0];
    for (let code = 0; code < 255; code++) {
      below += counts[code];
      moment += counts[code] * code;
      if (below === 0 || below === total) continue;
      const between = (mean * below - moment) ** 2 / (below * (total - below));
      if (between > best) [best, from] = [between, code];
      if (between === best) otsu = (from + code + 1) / 2; // the middle of a gap
    }
    const middle = quantile(0.5);
    const spread = middle - quantile(0.16);
    const outstanding = middle + 2 * spread;
    return (spread === 0 || outstanding > quantile(0.99) ? otsu : Math.max(otsu, outstanding)) / 255;
  };

  // Returns {software: whether WebGL2 is drawn without a graphics card}, or null where there is no WebGL2.
  Wedge.sceneRenderer = function () {
    const context = document.createElement("canvas").getContext("webgl2");
    if (!context) return null;
    const unmasked = context.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL;
    const name = String(context.getParameter(unmasked ?? context.RENDERER));
    context.getExtension("WEBGL_lose_context")?.loseContext();
    return { software: /swiftshader|llvmpipe|software|basic render/i.test(name) };
  };

  Wedge.SceneDrawing = class {
    // renderer is what sceneRenderer returned; onLost is told when the browser takes the context away.
    constructor(element, renderer, onLost) {
      this.slow = renderer.software;
      this.view = vtk.OpenGLRenderWindow.newInstance();
      this.view.setContainer(element);
      this.canvas = this.view.getCanvas();
      // vtk.js asks for a context that forgets its picture: prints and "save picture" of browsers would be empty.
      this.canvas.getContext = (kind, options) =>
        HTMLCanvasElement.prototype.getContext.call(this.canvas, kind, { ...options, preserveDrawingBuffer: true, alpha: false });
      this.canvas.addEventListener("webglcontextlost", onLost);
      this.renderer = vtk.Renderer.newInstance({ background: COLOURS.background });
      this.window = vtk.RenderWindow.newInstance();
      this.window.addRenderer(this.renderer);
      this.window.addView(this.view);
      // What vtk.js asks its interactor for: turning and the quality while turning are the scene's own.
      const unsubscribe = () => undefined;
      this.window.setInteractor({ isAnimating: () => false, onAnimationFrameRateUpdate: () => ({ unsubscribe }), render: () => this.view.traverseAllPasses() });
      this.renderer.getActiveCamera().setParallelProjection(true);
      this.addVolume();
      this.addSurface();
    }

    addVolume() {
      this.volumeMapper = vtk.VolumeMapper.newInstance();
      this.volumeMapper.setAutoAdjustSampleDistances(false);
      this.volumeMapper.setMaximumSamplesPerRay(2000);
      this.volume = vtk.Volume.newInstance();
      this.volume.setMapper(this.volumeMapper);
      this.colours = vtk.ColorTransferFunction.newInstance();
      this.opacities = vtk.PiecewiseFunction.newInstance();
      const property = this.volume.getProperty();
      property.setRGBTransferFunction(0, this.colours);
      property.setScalarOpacity(0, this.opacities);
      property.setInterpolationTypeToLinear();
      property.setShade(!this.slow); // it takes ten times as long
      property.setAmbient(0.5);
      property.setDiffuse(0.7);
      property.setSpecular(0.15);
    }

    addSurface() {
      const actorOf = (mesh, colour) => {
        const mapper = vtk.Mapper.newInstance();
        mapper.setInputData(mesh);
        mapper.setScalarVisibility(false);
        const actor = vtk.Actor.newInstance();
        actor.setMapper(mapper);
        actor.getProperty().setColor(...colour);
        return actor;
      };
      this.mesh = vtk.PolyData.newInstance();
      this.surface = actorOf(this.mesh, COLOURS.surface);
      this.surface.getProperty().setSpecular(0.2);
      this.surface.getProperty().setSpecularPower(20);
      this.box = vtk.PolyData.newInstance();
      this.outline = actorOf(this.box, COLOURS.box);
      this.outline.getProperty().setLighting(false);
      this.renderer.addActor(this.outline);
    }

    // Takes a preview, to be followed by setLook; lengths are those of its spacing.
    setPreview(preview) {
      this.preview = preview;
      this.empty = preview.codes.every((code) => code === preview.codes[0]);
      this.size = preview.shape.map((count, axis) => count * preview.spacing[axis]).reverse(); // x, y, z
      this.radius = Math.hypot(...this.size) / 2;
      const { shape, spacing, codes } = preview;
      const image = vtk.ImageData.newInstance({ spacing: spacing.slice().reverse() });
      image.setDimensions(shape[2], shape[1], shape[0]);
      image.setOrigin([2, 1, 0].map((axis) => (-(shape[axis] - 1) / 2) * spacing[axis]));
      image.getPointData().setScalars(vtk.DataArray.newInstance({ name: "codes", values: codes, numberOfComponents: 1 }));
      this.volumeMapper.setInputData(image);
      this.volumeMapper.setSampleDistance(this.sampleDistance());
      this.volume.getProperty().setScalarOpacityUnitDistance(0, this.radius / 45);
      this.drawBox();
      this.drawn = null;
    }

    // From now on without what takes long: for cards that are too slow for it.
    hurry() {
      this.slow = true;
      this.volume.getProperty().setShade(false);
      this.volumeMapper.setSampleDistance(this.sampleDistance());
    }

    sampleDistance() {
      return Math.max(Math.min(...this.preview.spacing) * (this.slow ? 1 : 0.5), this.radius / 900);
    }

    drawBox() {
      const corners = new Float32Array(24);
      for (let corner = 0; corner < 8; corner++)
        for (let axis = 0; axis < 3; axis++) corners[3 * corner + axis] = ((corner >> axis) & 1 ? 0.5 : -0.5) * this.size[axis];
      const lines = [0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 1, 3, 4, 6, 5, 7, 0, 4, 1, 5, 2, 6, 3, 7];
      this.box.getPoints().setData(corners, 3);
      this.box.getLines().setData(Uint32Array.from(lines.flatMap((from, i) => (i % 2 ? [] : [2, from, lines[i + 1]]))));
      this.box.modified();
    }

    // Takes {mode, threshold, invert}.
    setLook(look) {
      this.look = look;
      const surface = look.mode === "surface";
      this.renderer.removeVolume(this.volume);
      this.renderer.removeActor(this.surface);
      if (this.empty) return;
      if (surface) this.drawSurface();
      else this.drawVolume();
      if (surface) this.renderer.addActor(this.surface);
      else this.renderer.addVolume(this.volume);
    }

    drawVolume() {
      const { threshold, invert } = this.look;
      const code = (share) => 255 * (invert ? 1 - share : share);
      const rest = Math.max(1 - threshold, 1 / 255);
      this.colours.removeAllPoints();
      this.colours.addRGBPoint(code(threshold), ...COLOURS.low);
      this.colours.addRGBPoint(code(threshold + 0.8 * rest), ...COLOURS.high);
      this.opacities.removeAllPoints();
      const before = threshold - 0.5 / 255;
      if (before > 0) this.opacities.addPoint(code(0), 0);
      if (before >= 0) this.opacities.addPoint(code(before), 0);
      for (const [share, opacity] of [[0, 0.02], [0.4, 0.12], [1, 0.6]]) this.opacities.addPoint(code(threshold + share * rest), opacity);
    }

    drawSurface() {
      const { threshold, invert } = this.look;
      const key = `${threshold} ${invert}`;
      if (this.drawn === key) return;
      this.drawn = key;
      let preview = this.preview;
      let found = Wedge.isosurface(preview, threshold, invert, MOST_POINTS);
      while (found === null) {
        preview = Wedge.halvedPreview(preview);
        found = Wedge.isosurface(preview, threshold, invert, MOST_POINTS);
      }
      this.mesh.getPoints().setData(found.points, 3);
      this.mesh.getPolys().setData(found.polygons);
      this.mesh.getPointData().setNormals(vtk.DataArray.newInstance({ name: "normals", values: found.normals, numberOfComponents: 3 }));
      this.mesh.modified();
    }

    resize(width, height) {
      this.view.setSize(Math.max(1, Math.round(width)), Math.max(1, Math.round(height)));
    }

    draw(camera) {
      const { focus, position, scale } = Wedge.cameraPlace(camera, this.radius ?? 1);
      const [width, height] = this.view.getSize();
      const inner = this.renderer.getActiveCamera();
      inner.setFocalPoint(...focus);
      inner.setPosition(...position);
      inner.setViewUp(...camera.up);
      inner.setParallelScale(scale * Math.max(1, height / width));
      inner.setClippingRange((this.radius ?? 1) * 1.5, (this.radius ?? 1) * 4.5);
      this.window.render();
    }

    // Calls back when the card has drawn what it was told to.
    finished(callback) {
      const gl = this.view.getContext();
      const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
      gl.flush();
      const ask = () => {
        if (gl.isContextLost() || gl.getSyncParameter(fence, gl.SYNC_STATUS) !== gl.UNSIGNALED) {
          gl.deleteSync(fence);
          callback();
        } else setTimeout(ask, 4);
      };
      setTimeout(ask, 0);
    }

    // What was drawn, the first row on top: {width, height, data (RGBA)}.
    pixels() {
      const [width, height] = this.view.getSize();
      const rows = new Uint8Array(4 * width * height);
      const gl = this.view.getContext();
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
      gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rows);
      const data = new Uint8ClampedArray(rows.length);
      for (let row = 0; row < height; row++) data.set(rows.subarray(4 * width * row, 4 * width * (row + 1)), 4 * width * (height - 1 - row));
      return { width, height, data };
    }

    dispose(onLost) {
      this.canvas.removeEventListener("webglcontextlost", onLost);
      this.renderer.removeVolume(this.volume);
      this.renderer.removeActor(this.surface);
      this.renderer.removeActor(this.outline);
      this.window.removeView(this.view);
      const context = this.view.getContext();
      this.view.delete();
      context?.getExtension("WEBGL_lose_context")?.loseContext(); // browsers give a page a handful of them
      this.canvas.remove();
      this.preview = null;
    }
  };
})();
