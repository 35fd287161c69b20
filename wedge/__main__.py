"""``python -m wedge``: the command line."""

from wedge.cli import main

if __name__ == "__main__":
    main()
