"""The laws over every component that is installed, whoever made it, with its default options."""

import pytest

from wedge import testing
from wedge.check import check_component
from wedge.errors import UsageError
from wedge.manifest import Entry
from wedge.registry import Registry, unavailable

REGISTRY = Registry.load()
LAWS = {
    "projector": testing.ProjectorLaws,
    "network": testing.NetworkLaws,
    "regularizer": testing.RegularizerLaws,
    "metric": testing.MetricLaws,
}


def laws_of(entry: Entry) -> type:
    """Return a test class of one component."""

    def make(self: object, *arguments: object) -> object:
        try:
            return REGISTRY.resolve(entry.kind, entry.component.name).build(*arguments)
        except UsageError as error:
            pytest.skip(f"has no default options: {error}")

    name = f"Test{entry.kind.title()}{''.join(part.title() for part in entry.component.name.split('-'))}"
    laws = type(name, (LAWS[entry.kind],), {"make": make, "__module__": __name__})
    reason = unavailable(entry)
    return pytest.mark.skipif(reason is not None, reason=str(reason))(laws)


for found in REGISTRY.entries():
    if found.kind in LAWS:
        made = laws_of(found)
        globals()[made.__name__] = made
del found, made


@pytest.mark.parametrize("entry", REGISTRY.entries(), ids=lambda entry: f"{entry.kind}-{entry.component.name}")
def test_every_component_passes_the_quick_check(entry: Entry) -> None:
    finding = check_component(REGISTRY, entry)
    assert finding.status in ("ok", "unavailable"), finding.detail


def test_no_plugin_is_broken() -> None:
    assert REGISTRY.broken == []
