"""STAR files as RELION writes them: data blocks of single values and of loops; values in quotes; comments."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from wedge.errors import InputError
from wedge.formats.text import lines_of, read_text

_MOST_LINES = 100_000
_MOST_COLUMNS = 500
_TOKEN = re.compile(r"""'([^']*)'(?=\s|$)|"([^"]*)"(?=\s|$)|(\#.*)|(\S+)""")


@dataclass
class Block:
    """One data block, as a table.

    Parameters
    ----------
    labels
        Names of the columns, without the underscore in front.
    rows
        Values as they stand; a block of single values is one row.
    """

    labels: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def column(self, label: str) -> list[str] | None:
        """Return the values of a column, or None where there is none."""
        if label not in self.labels:
            return None
        place = self.labels.index(label)
        return [row[place] for row in self.rows]


def read_star(path: str | Path) -> dict[str, Block]:
    """Return the data blocks of a STAR file by name, ``""`` for one without.

    Raises
    ------
    InputError
        If it cannot be read, is no STAR file, names a block or a column twice, or has a row that is not as long as its loop.
    """
    path = Path(path)
    blocks: dict[str, Block] = {}
    block: Block | None = None
    is_loop = False
    for index, line in enumerate(lines_of(read_text(path, "a STAR file"), _MOST_LINES, path), start=1):
        tokens = _tokens(line)
        if not tokens:
            continue
        word = tokens[0]
        if word.startswith("data_"):
            if word[5:] in blocks:
                raise InputError(f"line {index} of {path} begins block {word[5:][:40]!r} a second time; correct the file")
            block, is_loop = blocks.setdefault(word[5:], Block()), False
        elif block is None:
            raise InputError(f"not a STAR file: line {index} of {path} stands before the first data block; check the path")
        elif word == "loop_":
            is_loop = True
        else:
            _take(block, tokens, is_loop, f"line {index} of {path}")
    if not blocks:
        raise InputError(f"not a STAR file: {path} has no data block; check the path")
    return blocks


def _tokens(line: str) -> list[str]:
    """Return the words of a line; what is in quotes is one word, and a comment is none."""
    found: list[str] = []
    for match in _TOKEN.finditer(line):
        if match[3] is not None or len(found) > _MOST_COLUMNS:
            break
        found.append(next(group for group in (match[1], match[2], match[4]) if group is not None))
    return found


def _take(block: Block, tokens: list[str], is_loop: bool, place: str) -> None:
    is_label = tokens[0].startswith("_") and len(tokens[0]) > 1 and (not is_loop or not block.rows)
    if is_label:
        label = tokens[0][1:]
        if len(block.labels) >= _MOST_COLUMNS:
            raise InputError(f"{place} names more than {_MOST_COLUMNS} columns; check the file")
        if label in block.labels:
            raise InputError(f"{place} names column {label[:40]!r} a second time; correct the file")
        if not is_loop:
            if len(tokens) != 2:
                raise InputError(f"{place} has {len(tokens) - 1} values for {label[:40]!r}: expected one; correct the file")
            block.rows = [[*(block.rows[0] if block.rows else []), tokens[1]]]
        block.labels.append(label)
    elif not is_loop or len(tokens) != len(block.labels):
        raise InputError(f"{place} has {len(tokens)} values: expected {len(block.labels) if is_loop else 'a name first'}; correct the file")
    else:
        block.rows.append(tokens)
