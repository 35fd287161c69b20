"""Laws of rays: what they cross, whatever the views' size."""

import tracemalloc

import numpy as np

from wedge.fit.rays import share_inside
from wedge.geometry import TiltGeometry


def test_each_ray_crosses_what_the_geometry_says():
    geometry = TiltGeometry(
        (-70.0, 0.0, 25.0, 110.0), (4, 37), (11, 4, 20), voxel_size_in_pixels=1.7, volume_centre_pixels=(3.0, -6.0), axis_offset_pixels=2.5
    )
    found = share_inside(geometry)
    assert found.shape == (4, 37)
    for view, angle in enumerate(geometry.tilt_angles_rad):
        for column in range(37):
            s = column - 18 - 2.5
            z = 1.7 * (np.arange(11) - 5) + 3.0
            x = (s - z * np.sin(angle)) / np.cos(angle)
            assert found[view, column] == np.mean(np.abs(x + 6.0) <= 1.7 * 10)


def test_memory_does_not_grow_with_the_thickness():
    geometry = TiltGeometry(tuple(np.linspace(-60, 60, 41)), (4, 1024), (512, 4, 1024))
    tracemalloc.start()
    try:
        share_inside(geometry)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
