"""What the fit of one half has from the fit of the whole, as it stands in its record: enough to make that half again, alone."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wedge.errors import InputError
from wedge.fit.checkpoint import Progress
from wedge.fit.config import FitConfig
from wedge.fit.normalization import Normalization

HALF_NAME = "half.json"


@dataclass(frozen=True)
class HalfRecord:
    """What a half has from the whole.

    Parameters
    ----------
    whole
        The whole's output.
    units
        Of the whole's fit.
    chosen
        What the data chose, for records.
    alignment
        How the whole's views were moved, as `wedge.align.before_fit.FitAlignment.record` gives it, or None.
    """

    whole: str
    units: Normalization
    chosen: dict[str, Any] = field(default_factory=dict)
    alignment: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, data: Any, source: Path) -> "HalfRecord":
        """Return what `to_json` gave.

        Raises
        ------
        InputError
            If it is damaged.
        """
        try:
            return cls(**data | {"units": Normalization(**data["units"])})
        except (KeyError, TypeError) as error:
            raise InputError(f"{source} does not say in full how this half was made: make it again with its whole, by --halves") from error

    @classmethod
    def of_run(cls, run_dir: Path) -> "HalfRecord | None":
        """Return what the fit in ``run_dir`` is a half of, or None.

        Raises
        ------
        InputError
            If it is damaged.
        """
        path = run_dir / HALF_NAME
        try:
            return cls.from_json(json.loads(path.read_text()), path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}; start again with --overwrite") from error

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def write(self, run_dir: Path) -> None:
        """Keep it in the folder of a fit.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        path = run_dir / HALF_NAME
        try:
            path.write_text(json.dumps(self.to_json(), default=str))
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}; free some disk space") from error

    def settled(self, config: FitConfig) -> Progress:
        """Return the state of the half's fit before its first step."""
        return Progress(0, self.units, settled=config.model_dump(mode="json"), chosen=self.chosen)
