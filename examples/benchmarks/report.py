"""Put the stored results into RESULTS.md: each ``<!-- NAME -->`` is followed by the table of ``results/NAME.json``.

python examples/benchmarks/report.py [NAME ...]

With names, their tables are printed and the page is left alone. A result has ``case`` and ``rows``, and may say under ``better`` which
direction is the better one in which column: the best value of such a column is set in bold.
"""

import json
import re
import sys
from pathlib import Path

from commands import RESULTS, table

PAGE = Path(__file__).parent / "RESULTS.md"


def section(name: str) -> str:
    """Return the case, the table, and what it was measured with."""
    data = json.loads((RESULTS / f"{name}.json").read_text())
    machine = data["machine"]
    rows = data["rows"] if "rows" in data else [{"z x x": size, **row} for size, rows in data["sizes"].items() for row in rows]
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    on = f"*{machine['cpu']}, {machine['cores']} cores{gpu}, torch {machine['torch']}; `{' '.join(data['command'])}`*"
    return f"<!-- {name} -->\n\n{data.get('case') or data['what']}.\n\n{table(rows, data.get('better'))}\n\n{on}\n"


def main() -> None:
    if names := sys.argv[1:]:
        print("\n".join(section(name) for name in names))
        return
    parts = re.split(r"(?m)^<!-- (\w[\w.-]*) -->\n.*?^<!-- end -->\n", PAGE.read_text(), flags=re.DOTALL)
    # Every second part is a name.
    page = "".join(f"{section(part)}\n<!-- end -->\n" if index % 2 else part for index, part in enumerate(parts))
    PAGE.write_text(page)
    print(f"{len(parts) // 2} tables in {PAGE}")


if __name__ == "__main__":
    main()
