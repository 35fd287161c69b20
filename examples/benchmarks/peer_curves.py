"""How good other people's programs are after each part of their training, on one noisy case.

    python examples/benchmarks/peer_curves.py cryo --shape 64 64 128 --snr 0.1 [--methods deepdewedge icecream] [--work DIR] [--reuse]

With ``--reuse``, what is finished in the folder is taken, ``quality.py``'s too. `peers.py` tells how they are run.
"""

import argparse
import subprocess
import sys
from typing import Any

from casefolder import Case, add_case_arguments, case_of
from commands import table, write_results
from deepdewedge import DEEPDEWEDGE
from icecream_cryo import ICECREAM
from peers import Peer, points_of, take_volume
from scores import BETTER, score

PEERS = {peer.name: peer for peer in (DEEPDEWEDGE, ICECREAM)}


def curve(peer: Peer, case: Case, reuse: bool) -> list[dict[str, Any]]:
    """Return a row for every point of a peer's curve."""
    rows = []
    for point in points_of(peer, case, reuse):
        after, volume = f"{point['done']} {peer.unit}", case.folder / f"{peer.name}-{point['done']}.zarr"
        take_volume(point["volume"], case, volume, {"method": peer.title, "after": after})
        seconds = round(point["seconds"], 1)
        rows.append({"method": peer.name, "after": after, **score(volume, case.truth).row, "seconds": seconds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_case_arguments(parser)
    parser.add_argument("--methods", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--reuse", action="store_true", help="take what is finished in the folder")
    args = parser.parse_args()
    case = case_of(args)
    case.make()
    try:
        rows = [row for name in args.methods for row in curve(PEERS[name], case, args.reuse)]
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"failed: {error.cmd[1]}; what it finished is in {case.folder}, for --reuse") from None
    print(table(rows, BETTER))
    title = f"{case.title}, affine intensity fit: after each part of the training"
    path = write_results(case.name("peers"), {"options": case.options, "case": title, "better": BETTER, "rows": rows})
    print(f"{case.title}\nwritten to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
