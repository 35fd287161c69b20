"""``python -m wedge`` is ``wedge``."""

from wedge.cli import main

main()
