"""What the ``odl`` projector promises beyond the laws of projectors."""

import subprocess
import sys

import pytest
import torch
import wedge_odl.options
from wedge_odl.options import OdlProjectorOptions
from wedge_odl.projector import OdlProjector

from wedge.errors import InputError
from wedge.geometry import TiltGeometry

GEOMETRY = TiltGeometry((-40.0, 0.0, 50.0), (2, 24), (10, 2, 20))


def test_importing_odl_leaves_printing_and_environment_alone() -> None:
    program = (
        "import os, numpy, torch\n"
        "numpy.set_printoptions(precision=5)\n"
        "before = numpy.get_printoptions(), dict(os.environ)\n"
        "from wedge_odl.projector import OdlProjector, OdlProjectorOptions\n"
        "from wedge.geometry import TiltGeometry\n"
        "import sys; assert 'odl' not in sys.modules\n"
        "OdlProjector(TiltGeometry((0.0, 9.0), (1, 8), (4, 1, 8)), OdlProjectorOptions(), torch.device('cpu'))\n"
        "assert 'odl' in sys.modules\n"
        "assert (numpy.get_printoptions(), dict(os.environ)) == before\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_large_slices_raise_no_warning() -> None:
    large = TiltGeometry((0.0, 10.0), (1, 512), (512, 1, 512))
    OdlProjector(large, OdlProjectorOptions(), torch.device("cpu")).project(torch.zeros(1, 512, 512))


def test_probe_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wedge_odl.options.probe() is None
    monkeypatch.setattr(wedge_odl.options, "find_spec", lambda name: None if name == "astra" else object())
    assert wedge_odl.options.probe() == "astra-toolbox is not installed: pip install 'wedge-tomo[odl]'"


def test_a_wrong_shape_is_one_clear_line() -> None:
    projector = OdlProjector(GEOMETRY, OdlProjectorOptions(), torch.device("cpu"))
    with pytest.raises(InputError, match=r"got shape \(2, 20, 10\): expected \(y, 10, 20\)"):
        projector.project(torch.zeros(2, 20, 10))
