// The surface on which the codes of a preview pass a threshold, by naive surface nets: one point in each cell that the surface passes.
"use strict";

var Wedge = window.Wedge || {};

(() => {
  // Halves a preview along each axis that has two codes or more, by means.
  Wedge.halvedPreview = function (preview) {
    const { shape: [nz, ny, nx], codes, spacing } = preview;
    const step = preview.shape.map((count) => (count > 1 ? 2 : 1));
    const shape = preview.shape.map((count, axis) => Math.floor(count / step[axis]));
    const halved = new Uint8Array(shape[0] * shape[1] * shape[2]);
    let place = 0;
    for (let z = 0; z < shape[0]; z++)
      for (let y = 0; y < shape[1]; y++)
        for (let x = 0; x < shape[2]; x++) {
          let sum = 0;
          for (let c = 0; c < step[0]; c++)
            for (let b = 0; b < step[1]; b++)
              for (let a = 0; a < step[2]; a++) sum += codes[((z * step[0] + c) * ny + y * step[1] + b) * nx + x * step[2] + a];
          halved[place++] = Math.round(sum / (step[0] * step[1] * step[2]));
        }
    return { ...preview, shape, codes: halved, spacing: spacing.map((each, axis) => each * step[axis]) };
  };

  // Codes with a border of nothing around them, so that surfaces are closed where an object leaves the box.
  function padded({ shape: [nz, ny, nx], codes }, invert) {
    const values = new Uint8Array((nz + 2) * (ny + 2) * (nx + 2));
    for (let z = 0; z < nz; z++)
      for (let y = 0; y < ny; y++) {
        const from = (z * ny + y) * nx;
        const to = ((z + 1) * (ny + 2) + y + 1) * (nx + 2) + 1;
        if (invert) for (let x = 0; x < nx; x++) values[to + x] = 255 - codes[from + x];
        else values.set(codes.subarray(from, from + nx), to);
      }
    return values;
  }

  const grown = (array) => {
    const larger = new array.constructor(2 * array.length);
    larger.set(array);
    return larger;
  };

  // The twelve edges of a cell: corner, corner; a corner's number has bits x, y, z.
  const EDGES = [0, 1, 2, 3, 4, 5, 6, 7, 0, 2, 1, 3, 4, 6, 5, 7, 0, 4, 1, 5, 2, 6, 3, 7];

  // Returns {points, normals, polygons} for vtk.js, around the middle of the box, in the preview's spacing; null beyond mostPoints.
  // What reaches the threshold (0..1 of the codes; of what is left to 255 when inverted) is inside.
  Wedge.isosurface = function (preview, threshold, invert, mostPoints = Infinity) {
    const [nz, ny, nx] = preview.shape;
    const values = padded(preview, invert);
    const level = Math.max(0.5, threshold * 255);
    const [rowStep, planeStep] = [nx + 2, (nx + 2) * (ny + 2)];
    const offsets = Array.from({ length: 8 }, (_, corner) => (corner & 1) + ((corner >> 1) & 1) * rowStep + (corner >> 2) * planeStep);
    const cellRow = nx + 1;
    const cellPlane = cellRow * (ny + 1);
    const ids = [new Int32Array(cellPlane), new Int32Array(cellPlane)]; // the points of this plane of cells and of the one before
    let points = new Float32Array(3 * 4096);
    let polygons = new Uint32Array(4 * 8192);
    let count = 0;
    let used = 0;
    const corner = new Float64Array(8);

    const addPoint = (x, y, z) => {
      let sumX = 0;
      let sumY = 0;
      let sumZ = 0;
      let crossings = 0;
      for (let e = 0; e < 24; e += 2) {
        const a = EDGES[e];
        const b = EDGES[e + 1];
        if (corner[a] >= level === corner[b] >= level) continue;
        const share = (level - corner[a]) / (corner[b] - corner[a]);
        sumX += (a & 1) + share * ((b & 1) - (a & 1));
        sumY += ((a >> 1) & 1) + share * (((b >> 1) & 1) - ((a >> 1) & 1));
        sumZ += (a >> 2) + share * ((b >> 2) - (a >> 2));
        crossings++;
      }
      if (3 * count + 3 > points.length) points = grown(points);
      points[3 * count] = x + sumX / crossings;
      points[3 * count + 1] = y + sumY / crossings;
      points[3 * count + 2] = z + sumZ / crossings;
      return count++;
    };
    const addSquare = (a, b, c, d, turned) => {
      if (used + 8 > polygons.length) polygons = grown(polygons);
      polygons.set(turned ? [3, a, c, b, 3, b, c, d] : [3, a, b, c, 3, c, b, d], used);
      used += 8;
    };

    for (let z = 0; z <= nz; z++) {
      const [here, before] = [ids[z & 1], ids[1 - (z & 1)]];
      for (let y = 0; y <= ny; y++) {
        let inside = 0; // bits of the corners; those at the end of one cell are those at the beginning of the next
        for (let x = 0; x <= nx; x++) {
          const at = z * planeStep + y * rowStep + x;
          inside = (inside >> 1) & 0b01010101;
          if (values[at + 1] >= level) inside |= 2;
          if (values[at + rowStep + 1] >= level) inside |= 8;
          if (values[at + planeStep + 1] >= level) inside |= 32;
          if (values[at + planeStep + rowStep + 1] >= level) inside |= 128;
          if (inside === 0 || inside === 255) continue;
          if (count >= mostPoints) return null;
          for (let c = 0; c < 8; c++) corner[c] = values[at + offsets[c]];
          const cell = y * cellRow + x;
          here[cell] = addPoint(x, y, z);
          // A square around each of the cell's three first edges that the surface crosses; all its cells are known by now.
          const first = inside & 1;
          if (first !== ((inside >> 1) & 1)) addSquare(before[cell - cellRow], before[cell], here[cell - cellRow], here[cell], !first);
          if (first !== ((inside >> 2) & 1)) addSquare(before[cell - 1], here[cell - 1], before[cell], here[cell], !first);
          if (first !== ((inside >> 4) & 1)) addSquare(here[cell - cellRow - 1], here[cell - cellRow], here[cell - 1], here[cell], !first);
        }
      }
    }
    points = points.slice(0, 3 * count);
    polygons = polygons.slice(0, used);
    place(points, preview);
    return { points, normals: normals(points, polygons), polygons };
  };

  // From indices of the padded codes to lengths from the middle of the box.
  function place(points, { shape, spacing }) {
    for (let axis = 0; axis < 3; axis++) {
      const [count, step] = [shape[2 - axis], spacing[2 - axis]];
      for (let i = axis; i < points.length; i += 3) points[i] = (points[i] - (count + 1) / 2) * step;
    }
  }

  // Means of the neighbouring triangles' normals, weighted by area.
  function normals(points, polygons) {
    const sums = new Float32Array(points.length);
    for (let i = 0; i < polygons.length; i += 4) {
      const [a, b, c] = [3 * polygons[i + 1], 3 * polygons[i + 2], 3 * polygons[i + 3]];
      const [ux, uy, uz] = [points[b] - points[a], points[b + 1] - points[a + 1], points[b + 2] - points[a + 2]];
      const [vx, vy, vz] = [points[c] - points[a], points[c + 1] - points[a + 1], points[c + 2] - points[a + 2]];
      const [nx, ny, nz] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (const at of [a, b, c]) {
        sums[at] += nx;
        sums[at + 1] += ny;
        sums[at + 2] += nz;
      }
    }
    for (let i = 0; i < sums.length; i += 3) {
      const length = Math.hypot(sums[i], sums[i + 1], sums[i + 2]) || 1;
      sums[i] /= length;
      sums[i + 1] /= length;
      sums[i + 2] /= length;
    }
    return sums;
  }
})();
