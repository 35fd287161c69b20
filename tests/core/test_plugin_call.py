"""A fault of a plugin is told with its name."""

from typing import Any

import pytest
import torch

from wedge.errors import InputError, PluginError
from wedge.plugin_call import call_plugin


def fail(error: Exception) -> Any:
    raise error


def test_result_passes_through() -> None:
    assert call_plugin("metric 'm'", max, 1, 3) == 3


def test_fault_is_one_line_with_the_owner() -> None:
    with pytest.raises(PluginError, match=r"^metric 'm' failed: KeyError: 'a b'; ") as caught:
        call_plugin("metric 'm'", fail, KeyError("a b"))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("error", [InputError("bad"), MemoryError(), torch.OutOfMemoryError()])
def test_what_is_no_fault_of_the_plugin_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)):
        call_plugin("metric 'm'", fail, error)
