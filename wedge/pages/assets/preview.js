// Previews as wedge.preview writes them. All parts of a page live in one global, so that a page works from disk, without modules.
"use strict";

var Wedge = window.Wedge || {};

// Returns {shape, spacing, sizeAngstrom, codes, low, high, window}: shape and spacing are [z, y, x], codes a Uint8Array with x fastest,
// low and high the densities of codes 0 and 255, window the densities to be shown as black and white at first.
Wedge.decodePreview = function (buffer) {
  const magic = new TextDecoder().decode(new Uint8Array(buffer, 0, 8));
  if (magic !== "WEDGEPV1") throw new Error("not a preview");
  const length = new DataView(buffer).getUint32(8, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 12, length)));
  const codes = new Uint8Array(buffer, 12 + length);
  const [z, y, x] = header.shape;
  if (codes.length !== z * y * x) throw new Error("damaged preview");
  const voxel = header.voxel_size_angstrom;
  return {
    shape: header.shape,
    spacing: header.spacing_voxels,
    sizeAngstrom: voxel === null ? null : header.spacing_voxels.map((spacing) => spacing * voxel),
    codes,
    low: header.low,
    high: header.high,
    window: header.window,
  };
};
