"""Whatever stands in a file: a result or one line, no other error, no hang, no more memory than the file can hold."""

import random
import resource
import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from wedge import formats
from wedge.errors import InputError, UsageError
from wedge.formats.angles import read_angles
from wedge.formats.beside import find_beside, read_alignment
from wedge.formats.mdoc import read_mdoc
from wedge.formats.mrc import read_mrc

REAL = Path(__file__).resolve().parents[1] / "data" / "alignments"
NUMBERS = [
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1",
    "0",
    "99999999999999999999",
    "1e-320",
    "0x10",
    "",
    "--",
    "1,5",
    "\N{ARABIC-INDIC DIGIT FIVE}",
    "²",
]
STAR = """data_global
loop_
_rlnTomoName #1
_rlnTomoTiltSeriesPixelSize #2
'TS_1' 2.5

data_TS_1
loop_
_rlnTomoXTilt #1
_rlnTomoYTilt #2
_rlnTomoZRot #3
_rlnTomoXShiftAngst #4
_rlnTomoYShiftAngst #5
_rlnMicrographPreExposure #6
0 -60 85 10 -5 6
0 0 85.5 "3" -2 0 # first
0 60 86 7 1 3
"""
XML = """<?xml version="1.0" encoding="utf-8"?>
<TiltSeries LevelAngleX="0" LevelAngleY="1.5" AreAnglesInverted="False">
<Angles>-60
0
60</Angles><AxisAngle>85
85
85</AxisAngle><AxisOffsetX>3
2
1</AxisOffsetX><AxisOffsetY>1
2
3</AxisOffsetY><UseTilt>True
False
True</UseTilt><Dose>3
0
6</Dose>
<GridMovementX><Node X="0" Y="0" Z="0" Value="0.5"/></GridMovementX>
<CTF><Param Name="PixelSize" Value="2.5"/></CTF></TiltSeries>
"""


def mangled_text(text: str, draw: random.Random) -> bytes:
    lines = text.split("\n")
    for _ in range(draw.randint(1, 3)):
        place = draw.randrange(len(lines))
        kind = draw.randrange(7)
        if kind == 0:
            del lines[place]
            lines = lines or [""]
        elif kind == 1:
            lines.insert(place, draw.choice(lines))
        elif kind in (2, 3):
            words = lines[place].split(" ")
            words[draw.randrange(len(words))] = draw.choice(NUMBERS)
            lines[place] = " ".join(words)
        elif kind == 4:
            lines[place] = lines[place][: draw.randrange(len(lines[place]) + 1)]
        elif kind == 5:
            lines[place] = "".join(draw.sample(lines[place], len(lines[place])))
        else:
            lines = lines[: place + 1]
    content = "\n".join(lines).encode()
    return mangled_bytes(content, draw, len(content)) if draw.random() < 0.2 else content


def mangled_bytes(content: bytes, draw: random.Random, head: int) -> bytes:
    """Change some bytes of the first ``head``, whole numbers too, or cut the end."""
    result = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        if not result:
            break
        place = draw.randrange(min(head, len(result)))
        if draw.random() < 0.5:
            result[place] = draw.randrange(256)
        else:
            number = draw.choice([0, 1, -1, 2**31 - 1, -(2**31), 2**16, 100_000, draw.randrange(-(2**31), 2**31)])
            result[place & ~3 : (place & ~3) + 4] = struct.pack("<i", number)
    return bytes(result[: draw.randrange(len(result) + 1)] if draw.random() < 0.1 else result)


def survives(read) -> bool:
    """Run a reader: it gives a result, or one line."""
    try:
        read()
    except (InputError, UsageError) as error:
        message = str(error)
        assert "\n" not in message
        assert 0 < len(message) < 1000
        return False
    return True


def fuzz(path: Path, contents: list[bytes], *readers) -> None:
    """Read every content as the file; some must be read and some refused, else the mutations are too weak or too strong."""
    results = []
    for content in contents:
        path.unlink(missing_ok=True)  # writing over a file waits for the disk
        path.write_bytes(content)
        results += [survives(lambda read=read: read(path)) for read in readers]
    assert True in results
    assert False in results


TEXTS = {
    "a.xf": (REAL / "imod" / "mka2018-10-01-1.xf", read_alignment),
    "a.tlt": (REAL / "imod" / "mka2018-10-01-1.tlt", read_angles),
    "a.aln": (REAL / "aretomo" / "test.aln", read_alignment),
    "a.mrc.mdoc": (REAL / "serialem" / "TS_01.mrc.mdoc", read_mdoc, read_angles, read_alignment),
    "a.star": (STAR, read_alignment),
    "a.xml": (XML, read_alignment),
}


@pytest.mark.parametrize("name", TEXTS)
def test_mangled_text_is_read_or_refused_in_one_line(name, tmp_path):
    source, *readers = TEXTS[name]
    text = source if isinstance(source, str) else source.read_text()
    if name == "a.mrc.mdoc":
        text = "\n".join(text.split("\n")[:80])
    draw = random.Random(name)
    fuzz(tmp_path / name, [mangled_text(text, draw) for _ in range(400)], *readers)


@pytest.mark.parametrize("name", ["newst.com", "tilt.com"])
def test_mangled_command_files_are_read_or_refused_in_one_line(name, tmp_path):
    for file in (REAL / "imod").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "mka2018-10-01-1.mrc").touch()
    draw = random.Random(name)
    contents = [mangled_text((REAL / "imod" / name).read_text(), draw) for _ in range(200)]
    fuzz(tmp_path / name, contents, lambda path: read_alignment(tmp_path / "newst.com"))
    for content in contents[:100]:
        (tmp_path / name).write_bytes(content)
        find_beside(tmp_path / "mka2018-10-01-1.mrc")  # looks, and never complains


def mrc_stack(path: Path, kind: str) -> bytes:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.zeros((3, 4, 5), np.int16))
        file.voxel_size = 2.0
    content = bytearray(path.read_bytes())
    if kind == "SERI":
        extended = b"".join(struct.pack("<hhhhh", angle, 1, 2, 3, 4) for angle in (-6000, 0, 6000))
        content[104:108] = b"SERI"
        content[128:132] = struct.pack("<hh", 10, 1 | 4 | 8 | 16)
    elif kind == "FEI":
        numbers = np.zeros((1024, 32), "<f4")
        numbers[:3, 0], numbers[:3, 11] = (-60, 0, 60), 3.36e-9
        extended = numbers.tobytes()
    else:
        numbers = np.zeros((3, 768), np.uint8)
        for view, angle in enumerate((-60, 0, 60)):
            numbers[view, :4] = np.frombuffer(struct.pack("<i", 768), np.uint8)
            numbers[view, 100:108] = np.frombuffer(struct.pack("<d", angle), np.uint8)
            numbers[view, 156:172] = np.frombuffer(struct.pack("<dd", 3.36e-9, 3.36e-9), np.uint8)
        extended, content[104:108] = numbers.tobytes(), b"FEI1"
    content[92:96] = struct.pack("<i", len(extended))
    return bytes(content[:1024]) + extended + bytes(content[1024:])


@pytest.mark.parametrize("kind", ["SERI", "FEI", "FEI1"])
def test_mangled_headers_are_read_or_refused_in_one_line(kind, tmp_path):
    content, draw = mrc_stack(tmp_path / "a.mrc", kind), random.Random(kind)
    (tmp_path / "a.mrc").write_bytes(content)
    assert read_mrc(tmp_path / "a.mrc").tilt_angles_deg == (-60, 0, 60)
    contents = [mangled_bytes(content, draw, draw.choice([132, 1024, 1224])) for _ in range(200)]
    fuzz(tmp_path / "a.mrc", contents, lambda path: np.asarray(formats.open_tilts(path).array[0]), formats.kind_of)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}, {"imagej": True}])
def test_mangled_tiffs_are_read_or_refused_in_one_line(options, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.arange(60, dtype=np.uint16).reshape(3, 4, 5), photometric="minisblack", **options)
    (tmp_path / "a.tlt").write_text("-60\n0\n60\n")
    content, draw = path.read_bytes(), random.Random(str(options))
    contents = [mangled_bytes(content, draw, len(content)) for _ in range(120)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzz(path, contents, lambda path: np.asarray(formats.open_tilts(path).array[:]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


def test_nested_entities_are_refused_before_they_unfold(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]>\n<TiltSeries><Angles>&c;</Angles></TiltSeries>'
    (tmp_path / "a.xml").write_text(bomb)
    with pytest.raises(InputError, match="declares a document type"):
        read_alignment(tmp_path / "a.xml")
