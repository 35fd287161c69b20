// The camera of the 3-D view, as plain data: {forward, up, zoom, pan}. Directions are [x, y, z] of the volume; zoom 1 shows the whole box
// from any side; pan is in radii of the box, right and up. The projection is parallel, so lengths can be read off anywhere.
"use strict";

var Wedge = window.Wedge || {};

(() => {
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const scaled = (a, by) => a.map((each) => each * by);
  const sum = (...all) => [0, 1, 2].map((axis) => all.reduce((total, each) => total + each[axis], 0));
  const unit = (a) => scaled(a, 1 / Math.hypot(...a));
  const rotated = (a, axis, angle) =>
    sum(scaled(a, Math.cos(angle)), scaled(cross(axis, a), Math.sin(angle)), scaled(axis, dot(axis, a) * (1 - Math.cos(angle))));

  // Along an axis, as the slices beside it show the volume: x to the right and y down; x right, z down; y right, z down.
  // z points away from the viewer where x points to the right and y down: the axes are right-handed.
  Wedge.sceneViews = {
    z: { forward: [0, 0, 1], up: [0, -1, 0] },
    y: { forward: [0, -1, 0], up: [0, 0, -1] },
    x: { forward: [1, 0, 0], up: [0, 0, -1] },
  };

  Wedge.cameraRight = (camera) => cross(camera.forward, camera.up);

  // Turns what is seen, as a hand would: by the first angle (radians) to the right, by the second one down, about the screen's axes.
  Wedge.turnedCamera = function (camera, toTheRight, down) {
    let { forward, up } = camera;
    forward = rotated(forward, up, -toTheRight);
    const right = cross(forward, up);
    forward = unit(rotated(forward, right, -down));
    up = unit(rotated(up, right, -down));
    up = unit(sum(up, scaled(forward, -dot(up, forward))));
    return { ...camera, forward, up };
  };

  Wedge.viewCamera = (axis) => ({ ...Wedge.sceneViews[axis], zoom: 1, pan: [0, 0] });

  // Seen a little from the side and from above what the slices show on top.
  Wedge.firstCamera = () => Wedge.turnedCamera(Wedge.viewCamera("z"), 0.6, 0.45);

  // Returns a camera with every field in order, whatever was given.
  Wedge.checkedCamera = function (camera) {
    const vector = (value, size) => Array.isArray(value) && value.length === size && value.every(Number.isFinite);
    const good =
      camera && vector(camera.forward, 3) && vector(camera.up, 3) && vector(camera.pan, 2) &&
      Math.hypot(...cross(camera.forward, camera.up)) > 1e-6 && camera.zoom > 0 && camera.zoom < Infinity;
    if (!good) throw new TypeError("a camera is {forward: [x, y, z], up: [x, y, z], zoom, pan: [right, up]}");
    const forward = unit(camera.forward);
    const up = unit(sum(camera.up, scaled(forward, -dot(camera.up, forward))));
    return { forward, up, zoom: Math.min(50, Math.max(0.2, camera.zoom)), pan: camera.pan.slice() };
  };

  // Where a point [x, y, z], in lengths from the middle of the box, is seen: [right, up] in the same lengths, from the picture's middle.
  Wedge.seenAt = function (camera, radius, point) {
    const right = cross(camera.forward, camera.up);
    return [dot(point, right) + camera.pan[0] * radius, dot(point, camera.up) + camera.pan[1] * radius];
  };

  // What vtk.js wants: focal point and position, with the box of a radius around the origin.
  Wedge.cameraPlace = function (camera, radius) {
    const right = cross(camera.forward, camera.up);
    const focus = sum(scaled(right, -camera.pan[0] * radius), scaled(camera.up, -camera.pan[1] * radius));
    return { focus, position: sum(focus, scaled(camera.forward, -3 * radius)), scale: radius / camera.zoom };
  };
})();
