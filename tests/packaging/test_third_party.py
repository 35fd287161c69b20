"""wedge and the example plugin, each built into a wheel, installed into a scratch environment and used."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "wedge-rotate-projector"


def call(*command: object, cwd: Path, **environ: str) -> str:
    """Run a command in a clean environment and return its stdout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "WEDGE_", "PYTEST_"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**kept, "WEDGE_CACHE": str(cwd / "cache"), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an environment that holds both wheels; their requirements are those of the running environment."""
    folder = tmp_path_factory.mktemp("scratch")
    wheels = folder / "wheels"
    for project in (ROOT, EXAMPLE):
        call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, project, cwd=folder)
    call(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (site / "requirements.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n")
    call(
        *(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"),
        *("install", "--quiet", "--no-deps", "--no-index", "--force-reinstall", *sorted(wheels.glob("*.whl"))),
        cwd=folder,
    )
    return folder


def test_the_wheel_is_what_runs(scratch: Path) -> None:
    code = "import wedge, wedge_torch, wedge_rotate; print(wedge.__file__, wedge_torch.__file__, wedge_rotate.__file__)"
    for file in call(scratch / "env/bin/python", "-c", code, cwd=scratch).split():
        assert Path(file).is_relative_to(scratch)


def test_the_wheel_carries_the_pages_and_the_licences_of_what_is_not_ours(scratch: Path) -> None:
    code = "from wedge.pages.assets import *; print(sum(len(asset_bytes(name)) for name in ('preview.js', *SCENE_STYLES, *SCENE_SCRIPTS)))"
    assert int(call(scratch / "env/bin/python", "-c", code, cwd=scratch)) > 400_000
    (wheel,) = (scratch / "wheels").glob("wedge_tomo-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "wedge/pages/vendor/LICENSE-vtk.js" in names
    assert any("/licenses/" in name and name.endswith("/LICENSE-vtk.js") for name in names)
    assert not [name for name in names if "tools/" in name or "node_modules" in name]


def test_the_plugin_is_listed_with_its_distribution(scratch: Path) -> None:
    listed = json.loads(call(scratch / "env/bin/wedge", "plugins", "list", "--json", cwd=scratch))
    assert listed["broken"] == []
    found = {(row["kind"], row["name"]): row for row in listed["components"]}
    rotate = found["projector", "rotate"]
    assert (rotate["distribution"], rotate["version"], rotate["unavailable"]) == ("wedge-rotate-projector", "1.0.0", None)
    assert found["projector", "torch"]["distribution"] == "wedge-tomo"


def test_the_plugin_passes_its_check_and_shows_its_options(scratch: Path) -> None:
    assert "transpose right" in call(scratch / "env/bin/wedge", "plugins", "check", "rotate", cwd=scratch)
    assert "samples_per_voxel=2" in call(scratch / "env/bin/wedge", "plugins", "show", "rotate", cwd=scratch)


def test_the_switch_keeps_the_plugin_out(scratch: Path) -> None:
    assert "wedge-rotate-projector" not in call(scratch / "env/bin/wedge", "plugins", "list", cwd=scratch, WEDGE_PLUGINS="")


def test_reconstruct_and_fbp_use_the_plugin(scratch: Path) -> None:
    wedge = scratch / "env/bin/wedge"
    sizes = ("--shape", 16, 8, 24, "--num-tilts", 13, "--tilt-range", -60, 60)
    call(wedge, "simulate-spheres", "-o", "spheres", *sizes, "--seed", 1, cwd=scratch)
    call(wedge, "fbp", "spheres/tilts.zarr", "-o", "fbp.zarr", "--projector", "rotate", cwd=scratch)
    options = ("--projector", "rotate", "--projector-opt", "samples_per_voxel=1", "--passes", 2, "--tune", "none", "--device", "cpu")
    call(wedge, "reconstruct", "spheres/tilts.zarr", "-o", "fit.zarr", *options, cwd=scratch)
    attributes = json.loads((scratch / "fit.zarr/zarr.json").read_text())["attributes"]["wedge"]
    assert attributes["complete"]
    assert "rotate" in json.dumps(attributes["provenance"])
    scores = call(
        wedge, "evaluate", "fbp.zarr", "fit.zarr", "--reference", "spheres/volume.zarr", "--metric", "psnr", "--json", cwd=scratch
    )
    assert "psnr" in scores


def test_the_tests_of_the_plugin_pass(scratch: Path) -> None:
    call(scratch / "env/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:odl_plugins", EXAMPLE / "tests", cwd=scratch)
