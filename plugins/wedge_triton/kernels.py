"""Projection and its transpose of many slices at once, each entry of the matrix computed where it is used.

Both kernels gather, so that nothing is added to one place by two of them, and both take an entry from one function of the distance between
a pixel and the centre of a voxel's shadow: the pair is matched to rounding. Slices are innermost in memory, ``(voxel, y)`` and
``(ray, y)``: an entry is computed once for a block of slices, and their values lie side by side.
"""
# ruff: noqa: N803 - constants of a kernel are in capitals, as Triton's users expect

import triton
import triton.language as tl


@triton.jit
def _shadow(s, wide, narrow, height):
    """Return the integral up to ``s`` of a voxel's shadow: a trapezoid around 0, ``wide`` at half its height, with flanks of ``narrow``."""
    flat = (wide - narrow) / 2
    distance = tl.abs(s)
    flank = tl.minimum(tl.maximum(distance - flat, 0.0), narrow)
    half = height * (tl.minimum(distance, flat) + flank - flank * flank / (2 * tl.maximum(narrow, 1e-12)))
    return tl.where(s < 0, -half, half)


@triton.jit
def _entry(distance, wide, narrow, height, STRIP: tl.constexpr):
    """Return the entry of the matrix for a pixel at a distance, in pixels, from a shadow's centre."""
    if STRIP:
        # The mean of the shadow over the pixel.
        found = _shadow(distance + 0.5, wide, narrow, height) - _shadow(distance - 0.5, wide, narrow, height)
    else:
        found = height * tl.maximum(1 - tl.abs(distance) / wide, 0.0)
    return found


@triton.jit
def project_kernel(
    slices, sinograms, views, num_y, num_z, num_x, width, voxel, first_z, first_x, middle,
    STRIP: tl.constexpr, TAPS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_Y: tl.constexpr,
):  # fmt: skip
    """Fill ``(tilt * x, y)`` from ``(z * x, y)``; a program has BLOCK pixels of one view and BLOCK_Y slices.

    ``views`` holds for each view the cosine, the sine, how far a shadow reaches, its width and flanks, and its height; see `_shadow`.
    """
    view = tl.program_id(1)
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y = tl.program_id(2) * BLOCK_Y + tl.arange(0, BLOCK_Y)
    cosine, sine, reach = tl.load(views + 6 * view), tl.load(views + 6 * view + 1), tl.load(views + 6 * view + 2)
    wide, narrow, height = tl.load(views + 6 * view + 3), tl.load(views + 6 * view + 4), tl.load(views + 6 * view + 5)
    steep = tl.abs(cosine) >= tl.abs(sine)
    lines = tl.where(steep, num_z, num_x)
    along = tl.where(steep, num_x, num_z)
    # On a line the shadow's centre moves by `step` from voxel to voxel.
    step = tl.where(steep, cosine, sine) * voxel
    total = tl.zeros((BLOCK, BLOCK_Y), dtype=tl.float32)
    for line in range(lines):
        from_line = tl.where(steep, (first_z + line * voxel) * sine, (first_x + line * voxel) * cosine)
        start = from_line + tl.where(steep, first_x * cosine, first_z * sine) + middle
        # Voxels whose shadow reaches this pixel lie around the one that it looks at.
        looked_at = (pixel - start) / step
        low = tl.floor(looked_at - reach / tl.abs(step)).to(tl.int32)
        for tap in tl.static_range(TAPS):
            place = low + tap
            z, x = tl.where(steep, line, place), tl.where(steep, place, line)
            centre = (first_z + z * voxel) * sine + (first_x + x * voxel) * cosine + middle
            entry = _entry(pixel - centre, wide, narrow, height, STRIP)
            inside = (place >= 0) & (place < along) & (pixel < width) & (tl.abs(pixel - centre) < reach)
            value = tl.load(
                slices + (z * num_x + x).to(tl.int64)[:, None] * num_y + y[None, :],
                mask=inside[:, None] & (y[None, :] < num_y),
                other=0.0,
            )
            total += tl.where(inside, entry, 0.0)[:, None] * value
    target = (view * width + pixel).to(tl.int64)
    tl.store(sinograms + target[:, None] * num_y + y[None, :], total, mask=(pixel < width)[:, None] & (y[None, :] < num_y))


@triton.jit
def backproject_kernel(
    slices, sinograms, views, num_y, num_z, num_x, width, num_views, voxel, first_z, first_x, middle,
    STRIP: tl.constexpr, TAPS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_Y: tl.constexpr,
):  # fmt: skip
    """Fill ``(z * x, y)`` from ``(tilt * x, y)``; a program has BLOCK voxels and BLOCK_Y slices."""
    which = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y = tl.program_id(1) * BLOCK_Y + tl.arange(0, BLOCK_Y)
    z, x = which // num_x, which % num_x
    total = tl.zeros((BLOCK, BLOCK_Y), dtype=tl.float32)
    for view in range(num_views):
        cosine, sine, reach = tl.load(views + 6 * view), tl.load(views + 6 * view + 1), tl.load(views + 6 * view + 2)
        wide, narrow, height = tl.load(views + 6 * view + 3), tl.load(views + 6 * view + 4), tl.load(views + 6 * view + 5)
        centre = (first_z + z * voxel) * sine + (first_x + x * voxel) * cosine + middle
        low = tl.floor(centre - reach).to(tl.int32)
        for tap in tl.static_range(TAPS):
            pixel = low + tap
            entry = _entry(pixel - centre, wide, narrow, height, STRIP)
            inside = (pixel >= 0) & (pixel < width) & (z < num_z) & (tl.abs(pixel - centre) < reach)
            value = tl.load(
                sinograms + (view * width + pixel).to(tl.int64)[:, None] * num_y + y[None, :],
                mask=inside[:, None] & (y[None, :] < num_y),
                other=0.0,
            )
            total += tl.where(inside, entry, 0.0)[:, None] * value
    tl.store(slices + which.to(tl.int64)[:, None] * num_y + y[None, :], total, mask=(z < num_z)[:, None] & (y[None, :] < num_y))
