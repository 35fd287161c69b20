"""From ``key=value`` on the command line to a plugin's typed options, and back to text that describes them."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union

from wedge.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class OptionRow:
    """One option of a plugin, for people.

    Parameters
    ----------
    key
        What users type before the ``=``.
    kind
        Its type, choices or range.
    default
        Its default as users would type it, or ``"required"``.
    description
        What it does.
    """

    key: str
    kind: str
    default: str
    description: str


def parse_setting(text: str) -> tuple[str, str]:
    """Split ``key=value`` at the first ``=``; dashes in the key become underscores.

    Raises
    ------
    UsageError
        If there is no ``=`` or no key.
    """
    key, separator, value = text.partition("=")
    key = key.strip().replace("-", "_")
    if not separator or not key:
        raise UsageError(f"cannot read the setting {text!r}: expected key=value")
    return key, value.strip()


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Collect ``key=value`` settings; the values of a repeated key become a list.

    Raises
    ------
    UsageError
        If one of them is not ``key=value``.
    """
    settings: dict[str, Any] = {}
    for text in texts:
        key, value = parse_setting(text)
        if key not in settings:
            settings[key] = value
        elif isinstance(settings[key], list):
            settings[key].append(value)
        else:
            settings[key] = [settings[key], value]
    return settings


def parse_choice(text: str) -> tuple[str, dict[str, Any]]:
    """Split ``name:key=value,key=value`` into the name and its settings; ``name`` alone has none.

    Raises
    ------
    UsageError
        If there is no name or a part is not ``key=value``.
    """
    name, separator, rest = text.partition(":")
    if not name.strip() or (separator and not rest.strip()):
        raise UsageError(f"cannot read {text!r}: expected name or name:key=value,key=value")
    return name.strip(), parse_settings(rest.split(",")) if separator else {}


def suggestion(name: str, known: Iterable[str], what: str) -> str:
    """Return what to do about an unknown name: the nearest ones first, else all of them."""
    names = sorted(known)
    if not names:
        return f"there are no {what}s"
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}? ({what}s: {', '.join(names)})" if near else f"{what}s: {', '.join(names)}"


def build_options(model: type[BaseModel] | None, settings: Mapping[str, Any], owner: str) -> Any:
    """Validate settings against a plugin's option model.

    Parameters
    ----------
    model
        The plugin's pydantic model, or None where it has no options.
    settings
        Strings from the command line, or typed values from a file; a single value is enough for a list.
    owner
        Whose options they are, for messages: ``"projector torch"``.

    Returns
    -------
    Any
        An instance of ``model``, or None where there are no options.

    Raises
    ------
    UsageError
        If a key is unknown or a value does not fit; the message names the valid ones.
    """
    if model is None:
        if settings:
            raise UsageError(f"{owner} has no options: remove {', '.join(sorted(settings))}")
        return None
    from pydantic import ValidationError

    for key in settings:
        if key not in model.model_fields:
            raise UsageError(f"{owner} has no option {key!r}: {suggestion(key, model.model_fields, 'option')}")
    values = {}
    for key, value in settings.items():
        annotation = model.model_fields[key].annotation
        if _is_list(annotation):
            values[key] = list(value) if isinstance(value, list | tuple) else [value]
        elif isinstance(value, list) and all(isinstance(item, str) for item in value) and not _takes_lists(annotation):
            raise UsageError(f"{owner}: option {key!r} takes one value, got {len(value)}; give it once")
        else:
            values[key] = value
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        given = first["input"] if first["loc"] else settings
        where = f"option {place!r} is {given!r}" if first["type"] != "missing" else f"option {place!r} is missing"
        expected = _message(first["msg"])
        kind = next((row.kind for row in describe_options(model) if first["loc"] and row.key == first["loc"][0]), "")
        raise UsageError(f"{owner}: {where}: {expected}{f' (expected {kind})' if kind else ''}") from error


def describe_options(model: type[BaseModel] | None) -> list[OptionRow]:
    """Return one row for each option of a plugin's model, in its order."""
    rows = []
    for key, info in model.model_fields.items() if model is not None else ():
        default = "required" if info.is_required() else _text(info.get_default(call_default_factory=True))
        bounds = [bound for item in info.metadata if (bound := _bound(item))]
        rows.append(OptionRow(key, " ".join([_kind(info.annotation), *bounds]), default, " ".join((info.description or "").split())))
    return rows


def _message(text: str) -> str:
    """Put pydantic's sentence on one line, its first letter small."""
    line = " ".join(text.split()).removeprefix("Value error, ")
    return line[:1].lower() + line[1:]


def _text(value: Any) -> str:
    """Write a default the way it would be typed."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(_text(item) for item in value) or "none"
    return str(value)


def _bound(constraint: Any) -> str:
    """Write a numeric constraint of ``annotated_types``, or nothing."""
    for attribute, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
        if (value := getattr(constraint, attribute, None)) is not None:
            return f"{sign}{value}"
    return ""


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    return typing.get_args(annotation) if typing.get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_list(annotation: Any) -> bool:
    """Say whether an option takes lists and nothing simpler, None apart."""
    members = [member for member in _members(annotation) if member is not NoneType]
    return bool(members) and all(_takes_lists(member) for member in members)


def _takes_lists(annotation: Any) -> bool:
    """Say whether an option can take a list."""
    return any((typing.get_origin(member) or member) in (list, tuple, set, frozenset, Any) for member in _members(annotation))


def _kind(annotation: Any) -> str:
    """Write a type for people: ``strip|joseph``, ``float``, ``int or none``, ``list of int``."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return " ".join([_kind(arguments[0]), *(bound for item in arguments[1:] if (bound := _bound(item)))])
    if origin is Literal:
        return "|".join(str(choice) for choice in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_kind(member) for member in arguments)
    if origin in (list, tuple, set, frozenset):
        inner = [_kind(argument) for argument in arguments if argument is not Ellipsis]
        return f"list of {' and '.join(dict.fromkeys(inner))}" if inner else "list"
    if annotation is NoneType:
        return "none"
    return str(getattr(annotation, "__name__", annotation)).lower()
