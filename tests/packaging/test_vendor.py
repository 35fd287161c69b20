"""The vendored library of the 3-D view: the bytes that are recorded, with the licences of all that is in it, and built anew to the same."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from wedge.pages import assets

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "wedge" / "pages" / "vendor"
SOURCE = ROOT / "tools" / "vtk"


def test_the_files_are_those_of_the_record():
    recorded = dict(reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir() if path.is_file()}
    del found["SHA256SUMS"], found["README.md"]
    assert found == recorded


def test_every_package_in_it_is_named_with_its_version_and_licence():
    banner = re.match(r"/\*! (.+); licences beside this file \*/\n", assets.asset_text("vendor/vtk.min.js"))
    assert banner
    named = dict(part.rsplit(" ", 1) for part in banner[1].split(", "))
    locked = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    asked = json.loads((SOURCE / "package.json").read_text())["devDependencies"]
    assert named["@kitware/vtk.js"] == asked["@kitware/vtk.js"]
    for name, version in named.items():
        package = locked[f"node_modules/{name}"]
        assert package["version"] == version
        assert package["license"] in ("BSD-3-Clause", "MIT")  # what pyproject.toml says of the distribution
        text = assets.asset_text(f"vendor/LICENSE-{name.split('/')[-1]}")
        assert "Copyright (c)" in text
    assert len(list(VENDOR.glob("LICENSE-*"))) == len(named)


def test_the_lock_names_no_hosts():
    assert "resolved" not in (SOURCE / "package-lock.json").read_text()


def test_it_can_be_inlined_and_keeps_the_strict_policy():
    text = assets.asset_text("vendor/vtk.min.js")
    assert "</script" not in text.lower()
    assert not re.search(r"\beval\(|new Function\b|\bimportScripts\b|\bXMLHttpRequest\b|\bfetch\(|\bWebSocket\b", text)
    assert len(text) < 600_000


def test_it_is_built_anew_to_the_same_bytes():
    node = shutil.which("node")
    if node is None or not (SOURCE / "node_modules").is_dir():
        pytest.skip("nothing to build with: npm ci --ignore-scripts in tools/vtk")
    done = subprocess.run([node, "build.mjs", "--check"], cwd=SOURCE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name", ["../__init__.py", "vendor/../__init__.py", "/etc/passwd", "vendor/more/vtk.min.js", "", "vendor/", "nothing.js"]
)
def test_names_of_assets_are_no_paths(name):
    with pytest.raises(KeyError):
        assets.asset_bytes(name)
