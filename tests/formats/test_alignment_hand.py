"""A left-handed set of points off the centre goes through the equations of every program, and comes back unmirrored.

Each program's projection is written here as its source has it; wedge's is that of `wedge.geometry`: ``s = x cos(theta) + z sin(theta)``.
"""

import numpy as np
import pytest

from wedge.formats.beside import read_alignment

NX, NY = 65, 48  # an odd and an even side: half a pixel too much or too little shows
POINTS = np.array([(9.0, -4.0, 2.0), (1.0, 7.0, -3.0), (-5.0, 2.0, 6.0), (3.0, 3.0, 8.0)])  # (x, y, z) from the tilt axis
ANGLES = (-57.0, 2.5, 41.0)
ROTATIONS = (84.0, 85.5, -12.0)
SHIFTS = np.array([(3.0, -8.0), (0.5, 2.25), (-6.0, 1.0)])
PIXEL = 2.5


def turn(degrees):
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def imod(path):
    """Tilt: X = x cos - row sin, rows down after trimvol -rx; newstack: X' = A (X - Xc) + D + Xc' with centres n / 2 from the edge."""
    raw, lines = [], []
    for angle, rotation, shift in zip(np.deg2rad(ANGLES), ROTATIONS, SHIFTS, strict=True):
        rows = -POINTS[:, 2]
        aligned = np.stack([POINTS[:, 0] * np.cos(angle) - rows * np.sin(angle), POINTS[:, 1]], 1) + np.array([NX, NY]) / 2
        matrix = turn(-rotation)
        edge = (aligned - np.array([NX, NY]) / 2 - shift) @ np.linalg.inv(matrix).T + np.array([NX, NY]) / 2
        raw.append(edge - 0.5)  # from the edge of the first pixel to its middle
        lines.append(" ".join(f"{value:.9f}" for value in (*matrix.ravel(), *shift)))
    (path / "a.xf").write_text("\n".join(lines))
    (path / "a.tlt").write_text("\n".join(str(angle) for angle in ANGLES))
    return path / "a.xf", raw


def aretomo(path):
    """GCorrPatchShift: out from its centre is turned by ROT, and moved by the shift and half the size; from the edge of the first pixel."""
    raw, lines = [], ["# AreTomo Alignment / Priims bprmMn", "# RawSize = 65 48 3", "# NumPatches = 0"]
    for view, (angle, rotation, shift) in enumerate(zip(ANGLES, ROTATIONS, SHIFTS, strict=True)):
        raw.append(seen(angle) @ turn(rotation).T + shift + np.array([NX, NY]) * 0.5 - 0.5)
        lines.append(f"{view + 1} {rotation} 1.0 {shift[0]} {shift[1]} 1 1 1 0 {angle}")
    (path / "a.aln").write_text("\n".join(lines))
    return path / "a.aln", raw


def relion(path):
    """Tomogram::setProjectionMatrix: Rz(ZRot) Ry(YTilt) and a shift in angstrom, from the middle of the view."""
    raw = []
    lines = ["data_a", "loop_", "_rlnTomoYTilt", "_rlnTomoZRot", "_rlnTomoXShiftAngst", "_rlnTomoYShiftAngst"]
    for angle, rotation, shift in zip(ANGLES, ROTATIONS, SHIFTS, strict=True):
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        tilt = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        in_plane = np.eye(3)
        in_plane[:2, :2] = turn(rotation)
        raw.append((POINTS @ (in_plane @ tilt).T)[:, :2] + shift + (np.array([NX, NY]) - 1) / 2)
        lines.append(f"{angle} {rotation} {shift[0] * PIXEL} {shift[1] * PIXEL}")
    (path / "a.star").write_text("\n".join(lines))
    return path / "a.star", raw


def warp(path):
    """GetPositionInAllTilts: Matrix3.Euler(0, Angle, -AxisAngle) and an offset in angstrom; its angles are minus the microscope's."""
    raw = []
    for angle, rotation, shift in zip(ANGLES, ROTATIONS, SHIFTS, strict=True):
        (cb, sb), (cg, sg) = ((np.cos(t), np.sin(t)) for t in np.deg2rad([-angle, -rotation]))
        euler = np.array([[cg * cb, sg, -cg * sb], [-sg * cb, cg, sg * sb], [sb, 0, cb]])
        raw.append((POINTS @ euler.T)[:, :2] + shift + (np.array([NX, NY]) - 1) / 2)
    lists = {"Angles": [-angle for angle in ANGLES], "AxisAngle": ROTATIONS, "AxisOffsetX": SHIFTS[:, 0] * PIXEL}
    lists["AxisOffsetY"] = SHIFTS[:, 1] * PIXEL
    inner = "".join(f"<{name}>{chr(10).join(str(value) for value in values)}</{name}>" for name, values in lists.items())
    (path / "a.xml").write_text(f"<TiltSeries>{inner}</TiltSeries>")
    return path / "a.xml", raw


def seen(angle):
    """Where wedge sees the points on an aligned view, from its centre."""
    theta = np.deg2rad(angle)
    return np.stack([POINTS[:, 0] * np.cos(theta) + POINTS[:, 2] * np.sin(theta), POINTS[:, 1]], 1)


@pytest.mark.parametrize("program", [imod, aretomo, relion, warp])
def test_points_come_back_where_they_are(program, tmp_path):
    path, raw = program(tmp_path)
    alignment = read_alignment(path, pixel_size_angstrom=PIXEL)
    assert alignment.tilt_angles_deg == ANGLES
    for view, angle in enumerate(ANGLES):
        centred = raw[view] - (np.array([NX, NY]) - 1) / 2
        aligned = centred @ alignment.matrices[view].T + alignment.shifts_pixels[view]
        np.testing.assert_allclose(aligned, seen(angle), atol=1e-6)
