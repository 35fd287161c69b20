import pytest

from wedge.errors import InputError
from wedge.formats.angles import find_angles, read_angles

MDOC = """PixelSpacing = 5.4

[T = SerialEM: somewhere]

[ZValue = 1]
TiltAngle = 3.5
Note = TiltAngle = 9

[ZValue = 0]
StageZ = 1
TiltAngle = -60.02

[FrameSet = 0]
TiltAngle = 7
"""


@pytest.fixture
def mdoc(tmp_path):
    def write(text):
        (tmp_path / "a.mrc.mdoc").write_text(text, encoding="latin-1")
        return tmp_path / "a.mrc.mdoc"

    return write


def test_angles_are_in_the_order_of_the_stack(mdoc):
    assert read_angles(mdoc(MDOC)) == (-60.02, 3.5)
    assert read_angles(mdoc(MDOC.replace("somewhere", "Å"))) == (-60.02, 3.5)


def test_mdoc_beside_the_stack_is_found_last(mdoc, tmp_path):
    path = mdoc(MDOC)
    assert find_angles(tmp_path / "a.mrc") == path
    (tmp_path / "a.rawtlt").touch()
    assert find_angles(tmp_path / "a.mrc") == tmp_path / "a.rawtlt"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[ZValue = 0]", "[ZValue = 3]", "not numbered from 0 to 1"),
        ("TiltAngle = 3.5", "Tilt = 3", "view 1 has no TiltAngle"),
        ("3.5", "steep", "TiltAngle of view 1 of .* is 'steep'"),
        ("ZValue", "MontSection", "no tilt angles in"),
    ],
)
def test_what_is_wrong_with_an_mdoc_is_told(mdoc, before, after, message):
    with pytest.raises(InputError, match=message):
        read_angles(mdoc(MDOC.replace(before, after)))


def test_real_mdoc_is_read(shared_data):
    angles = read_angles(shared_data / "alignments" / "serialem" / "TS_01.mrc.mdoc")
    assert len(angles) == 41
    assert angles[0] == 0.000999877
    assert max(angles) > 55
    assert min(angles) < -55
