// In the place of seedrandom, which vtk.js uses in functions that the pages never call.
export default function seedrandom() {
  throw new Error("left out of wedge's build of vtk.js");
}
