"""Scripts by which napari, neuroglancer and ChimeraX show volumes. They run where wedge may not be installed."""

import json
from collections.abc import Sequence
from pathlib import Path

from wedge.viewers.shown import Shown, stored_levels

_READ = '''
def read(stored):
    """Return an array (z, y, x) that stays on disk."""
    if stored["format"] == "zarr":
        try:
            import zarr
        except ImportError:
            sys.exit(f"{sys.executable} has no zarr 3: pip install 'zarr>=3' there, or wedge export the volume as .mrc")
        return zarr.open_array(stored["path"], mode="r")
    shape = tuple(stored["stored_shape"])
    data = np.memmap(stored["path"], dtype=stored["dtype"], mode="r", offset=stored["offset"], shape=shape)
    data = data.transpose(stored["axes"])
    return data[::-1] if stored["z_falls"] else data
'''

_NAPARI = (
    '''"""Shows volumes in napari; written by wedge view."""

import inspect
import json
import sys

import napari
import numpy as np

LAYERS = json.loads(r"""%s""")

'''
    + _READ
    + """

viewer = napari.Viewer(title="wedge: " + ", ".join(layer["title"] for layer in LAYERS))
has_units = "units" in inspect.signature(viewer.add_image).parameters
for number, layer in enumerate(LAYERS):
    levels = [read(stored) for stored in layer["levels"]]
    # Each coarser voxel is centred between those that it is the mean of, which napari works out from the shapes alone.
    data = levels if len(levels) > 1 else levels[0]
    voxel = layer["voxel_size_angstrom"]
    scale = [voxel or 1.0] * 3
    options = dict(name=layer["title"], scale=scale, contrast_limits=layer["contrast"], colormap="gray", visible=number == 0)
    if has_units and voxel:
        options["units"] = ("angstrom",) * 3  # given later, 0.9 shows nothing
    viewer.add_image(data, multiscale=len(levels) > 1, rendering="attenuated_mip", metadata={"surface": layer["surface"]}, **options)
viewer.dims.axis_labels = ("z", "y", "x")
# Since napari 0.9 the bar belongs to the canvas; since 0.6 it takes its unit from the layers.
bar = viewer.canvas.overlays.scale_bar if hasattr(getattr(viewer, "canvas", None), "overlays") else viewer.scale_bar
bar.visible = True
if not has_units and all(layer["voxel_size_angstrom"] for layer in LAYERS):
    bar.unit = "angstrom"
napari.run()
"""
)

_NEUROGLANCER = (
    '''"""Serves volumes to neuroglancer in a browser of this machine; written by wedge view."""

import json
import sys
import time
import webbrowser

import neuroglancer
import numpy as np

LAYERS = json.loads(r"""%s""")

'''
    + _READ
    + """

neuroglancer.set_server_bind_address("127.0.0.1")
viewer = neuroglancer.Viewer()
with viewer.txn() as state:
    for number, layer in enumerate(LAYERS):
        voxel = layer["voxel_size_angstrom"]
        unit, scale = ("nm", voxel / 10) if voxel else ("", 1)
        space = neuroglancer.CoordinateSpace(names=["z", "y", "x"], units=[unit] * 3, scales=[scale] * 3)
        data = read(layer["levels"][0])
        shader = "#uicontrol invlerp normalized(range=%%s)\\nvoid main() { emitGrayscale(normalized()); }" %% json.dumps(layer["contrast"])
        source = neuroglancer.LocalVolume(data=data, dimensions=space, volume_type="image")
        state.layers.append(name=layer["title"], layer=neuroglancer.ImageLayer(source=source, shader=shader), visible=number == 0)
        if number == 0:
            # x to the right and y down, as pictures of wedge.
            state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units=[unit] * 3, scales=[scale] * 3)
            state.position = [count / 2 for count in data.shape[::-1]]
            state.cross_section_scale = max(data.shape) / 500
            state.projection_scale = 1.5 * max(data.shape)
    state.layout = "4panel"
print(viewer.get_viewer_url(), flush=True)
if "--no-browser" not in sys.argv:
    webbrowser.open(viewer.get_viewer_url())
try:
    while True:
        time.sleep(3600)
except KeyboardInterrupt:
    pass
"""
)


def napari_script(volumes: Sequence[Shown]) -> str:
    """Return a script for napari's Python: every volume a layer, coarser copies used, voxels of their size."""
    return _NAPARI % _layers(volumes)


def neuroglancer_script(volumes: Sequence[Shown]) -> str:
    """Return a script for the Python package neuroglancer, which serves the volumes on the loopback until it is ended."""
    return _NEUROGLANCER % _layers(volumes)


def chimerax_script(volumes: Sequence[Shown], files: Sequence[Path]) -> str:
    """Return commands for ChimeraX: three planes of each volume at its contrast, voxels of their size, with the surface in a comment.

    Parameters
    ----------
    volumes
        What to show.
    files
        An MRC file of each, sections along z.
    """
    lines = ["# Written by wedge view: open it with ChimeraX."]
    for number, (each, file) in enumerate(zip(volumes, files, strict=True), 1):
        z, y, x = each.volume.array.shape
        low, high = each.contrast
        lines.append(f"open {_quoted(str(file))} format mrc name {_quoted(' '.join(each.title.splitlines()))}")
        if each.volume.voxel_size_angstrom is not None:
            lines.append(f"volume #{number} voxelSize {each.volume.voxel_size_angstrom:.6g} originIndex 0,0,0")
        planes = f"orthoplanes xyz positionPlanes {x // 2},{y // 2},{z // 2} imageMode orthoplanes"
        lines.append(f"volume #{number} style image colorMode l8 level {low:.6g},0 level {high:.6g},1 {planes} showOutlineBox true")
        lines.append(f"# a surface instead: volume #{number} style surface level {each.surface:.6g}")
        if number > 1:
            lines.append(f"volume #{number} hide")
    return "\n".join([*lines, "view orient", "view", ""])


def _layers(volumes: Sequence[Shown]) -> str:
    layers = [
        {
            "title": each.title,
            "levels": stored_levels(each),
            "voxel_size_angstrom": each.volume.voxel_size_angstrom,
            "contrast": each.contrast,
            "surface": each.surface,
        }
        for each in volumes
    ]
    # In JSON each quote within a name has a backslash before it, and a raw string keeps both and does not end there.
    return json.dumps(layers, indent=1)


def _quoted(text: str) -> str:
    """Quote for ChimeraX, which reads a doubled backslash and an escaped quote within double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
