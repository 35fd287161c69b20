"""The score that knows no truth puts reconstructions in the truth's order."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "examples" / "benchmarks"
NAMES = ("fbp ramp", "fbp sirt-like 5", "voxel 4 passes", "voxel TV 0.03", "adaptive 2")


@pytest.mark.parametrize("phantom", ["spheres", "noisy spheres"])
def test_score_ranks_as_the_hidden_truth_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phantom: str) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import ranking

    truth, tilts = ranking.phantoms(101, True, tmp_path, False)[phantom]
    rows = []
    for place, name in enumerate(NAMES):
        out = tmp_path / f"{place}.zarr"
        options = ["-o", out, "--projector-opt", "cache=false"]
        if name in ranking.FBP:
            held = ",".join(map(str, ranking.views_to_hold_out(ranking.open_tilts(tilts), 0.1, "extremes")))
            ranking.quick("fbp", tilts, *options, *ranking.FBP[name], "--exclude-views", held)
        else:
            ranking.quick("reconstruct", tilts, *options, *ranking.FITS[name], "--hold-out", 0.1, "--hold-out-views", "extremes")
        score = ranking.quick("evaluate", out, "--tilts", tilts)["volumes"][0]["values"]["score"]
        known = ranking.quick("evaluate", out, "--reference", truth, "--metric", "psnr")["volumes"][0]["values"]["psnr.volume"]
        rows.append((-score, known))
    scores, truths = (ranking.np.array(values) for values in zip(*rows, strict=True))
    assert ranking.rank_correlation(scores, truths) >= 0.9
    assert "ranking" in sys.modules
