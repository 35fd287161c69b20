"""What a network learns from once halves have taught it: what it made itself, as views would show it, with noise."""

import pytest
import torch

from wedge.fit.config import RestoreConfig
from wedge.fourier import missing_mask
from wedge.restore.cubes import Cubes
from wedge.restore.gain import gain_of
from wedge.restore.halves import Pair, by_shell, pair_of, radius
from wedge.restore.lessons import FromHalves, FromMade
from wedge.restore.network import Restorer, applied, applied_all_round, half_turns
from wedge.restore.run import Halves, learn
from wedge.restore.training import Learning

ANGLES = tuple(range(-50, 51, 2))
SHAPE = (32, 24, 40)  # y, z, x
SIZE = 16
CPU = torch.device("cpu")


def drawn(seed: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seen(density: torch.Tensor) -> torch.Tensor:
    rows, num_z, num_x = density.shape
    measured = ~missing_mask((num_z, rows, num_x), ANGLES, real=True).transpose(0, 1)
    return torch.fft.irfftn(torch.fft.rfftn(density) * measured, s=density.shape)


@pytest.fixture(scope="module")
def density() -> torch.Tensor:
    """Smooth density."""
    spectrum = torch.fft.rfftn(drawn(0)) * torch.exp(-((radius(SHAPE, CPU) / 0.15) ** 2))
    made = torch.fft.irfftn(spectrum, s=SHAPE)
    return made / made.std()


@pytest.fixture(scope="module")
def pair(density: torch.Tensor) -> Pair:
    return pair_of(*(seen(density + drawn(seed)) for seed in (1, 2)), ANGLES)


@pytest.fixture(scope="module")
def cubes() -> Cubes:
    return Cubes(SIZE, ANGLES, 0, CPU)


class Unchanged(Restorer):
    """Gives what it is given, and keeps it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given: list[torch.Tensor] = []

    def forward(self, density: torch.Tensor) -> torch.Tensor:
        self.given.append(density)
        return density


def test_noise_is_that_of_the_filtered_mean_and_of_nothing_that_halves_have_in_common(density: torch.Tensor) -> None:
    noises = [seen(drawn(seed)) for seed in (1, 2)]
    weak, strong = (pair_of(*(seen(size * density) + noise for noise in noises), ANGLES) for size in (1.0, 3.0))
    for pair in (weak, strong):
        mean_noise = by_shell((noises[0] + noises[1]) / 2 / pair.units.scale, pair.units.share_of_mean)
        assert float(pair.noise().std()) == pytest.approx(float(mean_noise.std()), rel=0.15)
        assert abs(float(torch.corrcoef(torch.stack([pair.noise().flatten(), seen(density).flatten()]))[0, 1])) < 0.1


def test_it_is_given_what_views_would_show_of_what_was_made_with_noise(pair: Pair, cubes: Cubes, density: torch.Tensor) -> None:
    """The same turned cube, filtered as the mean is, less what is missing of one that stands so, and a cube of the noise."""
    network, lesson = Unchanged(), FromMade(density, pair, cubes, 3)
    lesson.loss(network, 0, range(40))
    given = network.given[0][:, 0]
    noises = []
    for index in range(40):
        turn, centre, _ = cubes.draw(SHAPE, index)
        (spectrum,) = cubes.spectra([by_shell(density, pair.units.share_of_mean)], turn, centre)
        noises.append(given[index] - torch.fft.irfftn(spectrum * cubes.measured, s=(SIZE,) * 3))
    noise, places = pair.noise(), pair.noise().unfold(0, SIZE, 1).unfold(1, SIZE, 1).unfold(2, SIZE, 1)
    assert float(torch.stack(noises).std()) == pytest.approx(float(noise.std()), rel=0.1)
    found = set()
    for cube in noises[:5]:
        ways = [sign * cube.flip(axes) for sign in (1, -1) for axes in ([], [0], [1, 2], [0, 1, 2])]
        apart = [float((places - way).abs().amax((3, 4, 5)).min()) for way in ways]
        assert min(apart) < 1e-4, "it is from somewhere in the noise, turned so that as much is missing of it"
        found.add(apart.index(min(apart)))
    assert len(found) > 2, "in one of eight ways"
    again = Unchanged()
    FromMade(density, pair, cubes, 3).loss(again, 9, range(40))
    assert torch.equal(again.given[0][:, 0], given), "which depends on the seed and the index alone"


def test_all_of_what_was_made_is_asked_for_alike(pair: Pair, cubes: Cubes, density: torch.Tensor) -> None:
    """The loss is the power of what the network makes wrong in a cube, whether views see it or not, at the lowest frequencies too."""

    class Adding(Restorer):
        def __init__(self, more: torch.Tensor | float) -> None:
            super().__init__(1)
            self.more = more

        def forward(self, density: torch.Tensor) -> torch.Tensor:
            turned = [cubes.spectra([made], *cubes.draw(SHAPE, index)[:2])[0] for index in range(4)]
            return torch.stack([torch.fft.irfftn(each, s=(SIZE,) * 3) for each in turned])[:, None] + self.more

    made = seen(density)
    lesson, steps = FromMade(made, pair, cubes, 0), torch.arange(float(SIZE))
    assert float(lesson.loss(Adding(0.0), 0, range(4))) < 1e-6
    waves = [torch.cos(2 * torch.pi * periods / SIZE * steps) for periods in (0, 1, 3)]
    counted = (radius((SIZE,) * 3, CPU) <= 0.5).sum()
    for along in (along for wave in waves for along in (wave[:, None, None], wave[:, None], wave)):
        error = along.expand((SIZE,) * 3)
        # Two frequencies, of which a half of the spectrum holds one or both: each counts as much as its mirror image.
        expected = float(error.square().sum() * SIZE**3 / SIZE**3 / counted)
        assert float(lesson.loss(Adding(error), 0, range(4))) == pytest.approx(expected, rel=1e-3)


def test_what_is_made_in_all_positions_is_learned_from_as_strong_as_the_specimen(pair: Pair, cubes: Cubes) -> None:
    torch.manual_seed(0)
    network, turns = Restorer(2), half_turns(ANGLES)
    made = applied_all_round(network, pair.filtered_mean(pair.units.share_of_mean), turns)
    made -= made.mean()
    gain = gain_of(lambda density: applied(network, density), made, pair)
    assert float(gain.max()) > 1.2
    expected = by_shell(made, gain)
    assert torch.equal(FromMade.by(network, pair, turns, cubes, 0).state()["made"], expected - expected.mean())


def test_halves_teach_first_and_then_what_was_made_by_then(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RestoreConfig(steps=16, own_rounds=2, cube=SIZE, channels=2, clear_above=1.0, batch=3)
    learning, taught, made = Learning(pair, ANGLES, config, 0, False), [], []
    for kind in (FromHalves, FromMade):
        loss = kind.loss
        monkeypatch.setattr(kind, "loss", lambda self, *rest, loss=loss: taught.append((self, rest[-1])) or loss(self, *rest))
    by = FromMade.by.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(FromMade, "by", classmethod(lambda kind, network, *rest: made.append(learning.done) or by(kind, network, *rest)))
    while learning.done < learning.steps:
        learning.step()
    assert [type(lesson) for lesson, _ in taught] == [FromHalves] * 8 + [FromMade] * 8
    assert learning.steps_in_words == "16 steps, the last 8 from what it has made by then"
    assert made == [8, 12], "and not at the end, when nothing is learned any more"
    assert taught[8][0] is taught[11][0] is not taught[12][0]
    assert [indices for _, indices in taught] == [range(3 * step, 3 * step + 3) for step in range(16)], "no cube twice"


def test_a_network_is_applied_as_often_as_is_said(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [pair_of(pair.halves[1].flip(0), pair.halves[0].flip(0), ANGLES)]
    config = RestoreConfig(steps=16, own_rounds=2, cube=SIZE, channels=2, clear_above=1.0)
    calls, forward = [], Restorer.forward
    monkeypatch.setattr(Restorer, "forward", lambda self, density: calls.append(density.shape[-1]) or forward(self, density))
    for more in ([], others):
        learning = Learning(pair, ANGLES, config, 0, False, more)
        calls.clear()
        while learning.done < learning.steps:
            learning.step()
        assert sum(width != SIZE for width in calls) == learning.applications


def test_noise_that_halves_teach_is_unlearned(rods: torch.Tensor) -> None:
    """In strong noise as many steps lead nearer to the truth, in the wedge too."""
    halves = [seen(rods + 0.5 * drawn(seed)) for seed in (1, 2)]

    def likeness(rounds: int) -> tuple[float, float]:
        config = RestoreConfig(steps=160, own_rounds=rounds, cube=SIZE, channels=6, clear_above=1.0)
        made = learn(pair_of(*halves, ANGLES), ANGLES, config, 0, False)
        found = made.rows(Halves(SHAPE, lambda low, high: (halves[0][low:high], halves[1][low:high])), 0, SHAPE[0])
        missing = [each - seen(each) for each in (found, rods)]
        return tuple(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) for a, b in ((found, rods), missing))

    (without, wedge_without), (learned, wedge_learned) = likeness(0), likeness(2)
    assert learned > without + 0.02
    assert wedge_learned > wedge_without


def test_what_was_made_replaces_what_halves_were_filled_with(pair: Pair) -> None:
    """Only the one or the other is kept of a state."""
    config = RestoreConfig(steps=8, own_rounds=1, cube=SIZE, channels=2, clear_above=1.0)
    learning, kept = Learning(pair, ANGLES, config, 0, False), []
    for _ in range(6):
        kept.append({name.partition(".")[0] for name in learning.state()})
        learning.step()
    always = {"network", "optimizer", "done"}
    assert kept == [always, *[always | {"given"}] * 3, *[always | {"made"}] * 2]
