"""Every method as a recipe: it makes a volume from the folder of a case, and tells seconds, peak memory and what it chose.

``fbp-ramp`` and the like
    ``wedge fbp`` with each of its filters.
``sirt``, ``sirt-positive``
    SIRT, stopped with the truth. The background is subtracted for both where the series has one.
``voxel-tuned``
    The plain grid, tuned with the truth; its time is that of the chosen fit alone.
``mlp``, ``mlp-reg``, ``wucon``
    The published methods: the study's network without and with its regularizer, and its successor as `wucon.py` has it.
``deepdewedge``, ``icecream``
    Other people's programs on both halves, where they are installed; only when asked for, they take long (`peers.py`).
``default``, ``seed-N``, ``default-halves``, ``average-N``
    ``wedge reconstruct`` with no option; with another seed; with both halves; the mean of N seeds, the default's first.
``fast``, ``high``
    ``wedge reconstruct --quality fast`` and ``high``.
``adaptive``
    ``wedge reconstruct --method adaptive``: without a network.
``restored``
    ``wedge restore`` of the FBP of both halves.
"""

import json
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from casefolder import Case
from commands import cost, isolated, wedge
from deepdewedge import DEEPDEWEDGE
from icecream_cryo import ICECREAM
from peers import make_peer
from rivals import best_sirt
from tuned import tune
from wucon import fit_wucon

Told = dict[str, Any]
FILTERS = ("ramp", "hamming", "hann", "sirt-like", "overlap")


def fbp(maker: "Maker", out: Path, filter_name: str) -> Told:
    return cost(wedge("fbp", maker.case.tilts, "-o", out, "--filter", filter_name, "--overwrite"))


def stopped_sirt(maker: "Maker", out: Path, positive: bool) -> Told:
    case = maker.case
    told = isolated(best_sirt, case.bright_tilts(), case.truth, out, positive, case.background(), case.sign)
    return {"seconds": told["seconds"], "peak_mib": told["peak_mib"], "note": f"{told['iterations']} iterations"}


def wucon(maker: "Maker", out: Path) -> Told:
    case = maker.case
    if not maker.may_reuse("wucon"):
        shutil.rmtree(out.with_suffix(".pairs"), ignore_errors=True)
    return isolated(fit_wucon, case.bright_tilts(), out, case.background(), case.sign)


def voxel_tuned(maker: "Maker", out: Path) -> Told:
    return tune(maker.case, out, maker.may_reuse("voxel-tuned"))


def reconstruct(maker: "Maker", out: Path, *options: object) -> Told:
    told = wedge("reconstruct", maker.case.tilts, "-o", out, *options, "--overwrite")
    return cost(told) | {"note": chosen(told)}


def halves(maker: "Maker", out: Path) -> Told:
    first, second = maker.case.halves or (maker.case.folder / "half1.zarr", maker.case.folder / "half2.zarr")
    told = wedge("reconstruct", first, "--half", second, "-o", out, "--overwrite")
    return cost(told) | {"note": chosen(told)}


def restored(maker: "Maker", out: Path) -> Told:
    """Restore the halves' FBP; the time is that of all three commands."""
    first, second = maker.case.halves or (maker.case.folder / "half1.zarr", maker.case.folder / "half2.zarr")
    volumes = [out.with_name(f"restored-fbp{number}.zarr") for number in (1, 2)]
    told = [wedge("fbp", tilts, "-o", volume, "--overwrite") for tilts, volume in zip((first, second), volumes, strict=True)]
    last = wedge("restore", *volumes, "-o", out, "--overwrite")
    costs = [cost(each) for each in (*told, last)]
    seconds, peak_mib = round(sum(each["seconds"] for each in costs), 1), max(each["peak_mib"] for each in costs)
    return {"seconds": seconds, "peak_mib": peak_mib, "note": ", ".join(f"{last[key]} {key}" for key in ("steps", "channels"))}


def average(maker: "Maker", out: Path, count: int) -> Told:
    """Average several seeds and write their spread beside; the time is that of all fits."""
    members = ["default", *(f"seed-{seed}" for seed in range(1, count))]
    costs = [maker.make(name) for name in members]
    spread = ["--std", maker.spread(out)] if count > 1 else []
    costs.append(cost(wedge("average", *(maker.volume(name) for name in members), "-o", out, *spread, "--overwrite")))
    seconds, peak_mib = round(sum(told["seconds"] for told in costs), 1), max(told["peak_mib"] for told in costs)
    return {"seconds": seconds, "peak_mib": peak_mib, "note": f"seeds 0 to {count - 1}"}


def chosen(told: Told) -> str:
    """Return in a line what a fit reports that it has chosen itself."""
    found = told.get("fit", {}).get("chosen") or ""
    return found if isinstance(found, str) else ", ".join(f"{key} {_short(value)}" for key, value in found.items() if key != "trials")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value) if isinstance(value, dict | list) else str(value)


METHODS: dict[str, Callable[["Maker", Path], Told]] = {
    **{f"fbp-{name}": lambda maker, out, name=name: fbp(maker, out, name) for name in FILTERS},
    "sirt": lambda maker, out: stopped_sirt(maker, out, False),
    "sirt-positive": lambda maker, out: stopped_sirt(maker, out, True),
    "voxel-tuned": voxel_tuned,
    "mlp": lambda maker, out: reconstruct(maker, out, "--preset", "study", "--regularizer", "none"),
    "mlp-reg": lambda maker, out: reconstruct(maker, out, "--preset", "study"),
    "wucon": wucon,
    **{
        peer.name: lambda maker, out, peer=peer: make_peer(peer, maker.case, out, maker.may_reuse(peer.name))
        for peer in (DEEPDEWEDGE, ICECREAM)
    },
    "default": reconstruct,
    "default-halves": halves,
    "fast": lambda maker, out: reconstruct(maker, out, "--quality", "fast"),
    "high": lambda maker, out: reconstruct(maker, out, "--quality", "high"),
    "adaptive": lambda maker, out: reconstruct(maker, out, "--method", "adaptive"),
    "restored": restored,
    "average-4": lambda maker, out: average(maker, out, 4),
}
"""In the order of the tables; ``average-N`` and ``seed-N`` are known for every N beside."""


def recipe(name: str) -> Callable[["Maker", Path], Told]:
    """Return the method of a name.

    Raises
    ------
    SystemExit
        If there is none.
    """
    numbered = re.fullmatch(r"(average|seed)-(\d+)", name)
    if name not in METHODS and numbered:
        number = int(numbered[2])
        if numbered[1] == "seed":
            return lambda maker, out: reconstruct(maker, out, "--seed", number)
        return lambda maker, out: average(maker, out, max(number, 1))
    if name not in METHODS:
        raise SystemExit(f"unknown method {name!r}: choose from {', '.join(METHODS)}, seed-N, average-N")
    return METHODS[name]


def methods_for(case: Case) -> list[str]:
    """Return the methods that suit a case: positivity is wrong for cryo, halves need noise, and peers are to be asked for."""
    unfit = {DEEPDEWEDGE.name, ICECREAM.name} | (set() if case.positive else {"sirt-positive"})
    unfit |= set() if case.halves else {"default-halves", "restored"}
    unfit |= {"adaptive"} if case.positive else set()
    return [name for name in METHODS if name not in unfit]


class Maker:
    """Makes the volumes of a case, each once.

    With ``reuse``, those that an earlier run has finished are taken as they are, but for the ones to be made ``again``.
    """

    def __init__(self, case: Case, reuse: bool, again: Collection[str] = ()) -> None:
        self.case, self._reuse, self._again = case, reuse, again
        self._made: dict[str, Told] = {}

    def may_reuse(self, name: str) -> bool:
        """Return whether what an earlier run left of a method is taken."""
        return self._reuse and name not in self._again

    def volume(self, name: str) -> Path:
        return self.case.folder / f"{name}.zarr"

    def spread(self, out: Path) -> Path:
        """Return where the spread of an average is."""
        return out.with_name(f"spread-of-{out.name}")

    def finished(self) -> list[str]:
        """Return the names of what the folder holds, in the order of the tables."""
        names = [path.name.removesuffix(".cost.json") for path in sorted(self.case.folder.glob("*.cost.json"))]
        return sorted((name for name in names if self.volume(name).exists()), key=order)

    def make(self, name: str) -> Told:
        """Make one, where it is to be made, and return what it told."""
        record = self.case.folder / f"{name}.cost.json"
        if name not in self._made:
            if not (self.may_reuse(name) and record.exists() and self.volume(name).exists()):
                record.unlink(missing_ok=True)
                record.write_text(json.dumps(recipe(name)(self, self.volume(name))) + "\n")
            self._made[name] = json.loads(record.read_text())
        return self._made[name]


def order(name: str) -> tuple[int, int, str]:
    """Sort by the order of the tables, then by number."""
    number = int(name.rpartition("-")[2]) if name.rpartition("-")[2].isdigit() else 0
    place = list(METHODS).index(name) if name in METHODS else len(METHODS)
    return (place, number, name)
