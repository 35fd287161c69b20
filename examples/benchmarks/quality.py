"""Every method on one case, measured against the truth: one table.

    python examples/benchmarks/quality.py proteins [--snr 0.25] [--shape 64 160 160] [--contrast -1 --offset 3] [--seed 0]
    python examples/benchmarks/quality.py spheres [--eta 0.1]
    python examples/benchmarks/quality.py cryo --snr 0.1
        [--methods NAME ...] [--again NAME ...] [--work DIR] [--reuse]

Each method's row is kept as soon as it is finished, in ``results/quality_CASE.json``, beside it the FSC in ``_curves.json`` and PSNR and
SSIM by y-row in ``_rows.json``; a method that has a row is not run again unless ``--again`` names it. With ``--reuse``, volumes that are
finished in the folder are measured but not made again. Seeds from 100 on are for tuning and go into ``tuning_quality_CASE.json``.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from casefolder import Case, add_case_arguments, case_of
from commands import RESULTS, table, write_results
from methods import Maker, methods_for, order, recipe
from scores import BETTER, score


class Stored:
    """The results of one case in their three files."""

    def __init__(self, case: Case) -> None:
        self._case, self.name = case, case.name("quality")
        found = self._read(self.name)
        self._rows = {row["method"]: row for row in found.get("rows", [])}
        self._tuning = found.get("tuning", {})
        self._series = self._read(f"{self.name}_rows").get("methods", {})
        self._curves = self._read(f"{self.name}_curves").get("methods", {})

    def _read(self, name: str) -> dict[str, Any]:
        path = RESULTS / f"{name}.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        # A table of other options is begun anew.
        return found if found.get("options") == self._case.options else {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [self._rows[name] for name in sorted(self._rows, key=order)]

    def __contains__(self, method: str) -> bool:
        return method in self._rows

    def put(self, method: str, told: dict[str, Any], volume: Path) -> None:
        """Measure one volume and keep what was found."""
        found = score(volume, self._case.truth)
        costs = {"seconds": told["seconds"], "peak_mib": told["peak_mib"], "note": told.get("note", "")}
        self._rows[method] = {"method": method, **found.row, **costs}
        self._series[method], self._curves[method] = found.series, found.curves
        if "tuning" in told:
            self._tuning[method] = told["tuning"]
        self.write()

    def write(self) -> Path:
        common = {"command": ["python", "examples/benchmarks/quality.py", *self._case.words], "options": self._case.options}
        title = f"{self._case.title}, affine intensity fit"
        _write_compact(f"{self.name}_rows", common | {"methods": self._series})
        _write_compact(f"{self.name}_curves", common | {"methods": self._curves})
        return write_results(self.name, common | {"case": title, "better": BETTER, "rows": self.rows, "tuning": self._tuning})


def _write_compact(name: str, data: dict[str, Any]) -> None:
    """Keep series as data, a line a method."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"{json.dumps(method)}: {json.dumps(series, separators=(',', ':'))}" for method, series in data["methods"].items())
    rest = json.dumps({key: value for key, value in data.items() if key != "methods"})
    (RESULTS / f"{name}.json").write_text(f'{rest[:-1]}, "methods": {{\n{lines}\n}}}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_case_arguments(parser)
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="by default all that suit the case")
    parser.add_argument("--again", nargs="+", default=[], metavar="NAME", help="methods to run although they have a row")
    parser.add_argument("--reuse", action="store_true", help="take volumes that are finished in the folder")
    args = parser.parse_args()
    case = case_of(args)
    wanted = [*(args.methods or methods_for(case)), *args.again]
    for name in wanted:
        recipe(name)
    stored, failed = Stored(case), []
    maker = Maker(case, args.reuse, args.again)
    for name in dict.fromkeys(wanted):
        if name in stored and name not in args.again:
            continue
        case.make()
        try:
            stored.put(name, maker.make(name), maker.volume(name))
        except subprocess.CalledProcessError:
            failed.append(name)
    if stored.rows:
        print(table(stored.rows, BETTER))
        print(f"{case.title}\nwritten to {stored.write()}", file=sys.stderr)
    if failed:
        raise SystemExit(f"failed, and left out: {', '.join(failed)}")


if __name__ == "__main__":
    main()
