import json
import subprocess
import sys
import time

import pytest

import wedge
from wedge.errors import InputError
from wedge.provenance import RunClock, cost_of, input_hash, peak_memory_bytes, resident_bytes


def test_record_is_json_and_says_what_is_needed(tmp_path):
    (tmp_path / "in.mrc").write_bytes(b"abc")
    record = RunClock().record(
        ["/some/bin/wedge", "fbp", tmp_path / "in.mrc"], {"filter": "ramp"}, 5, [tmp_path / "in.mrc"], "cpu", ["mrcfile", "no-such-thing"]
    )
    assert json.loads(json.dumps(record)) == record
    assert record["command"] == ["wedge", "fbp", str(tmp_path / "in.mrc")]
    assert (record["config"], record["seed"], record["device"]) == ({"filter": "ramp"}, 5, "cpu")
    assert record["versions"]["wedge"] == wedge.__version__
    assert set(record["versions"]) == {"python", "wedge", "torch", "numpy", "zarr", "mrcfile"}
    assert record["inputs"] == [{"path": str(tmp_path / "in.mrc"), "blake2b": input_hash(tmp_path / "in.mrc")}]
    assert record["device_name"]
    assert record["device_peak_memory_bytes"] is None


def test_seconds_count_from_the_construction():
    clock = RunClock()
    time.sleep(0.02)
    assert 0.02 <= clock.record([], {})["seconds"] < 10


def test_hash_is_blake2b_of_the_contents(tmp_path):
    import hashlib

    (tmp_path / "a").write_bytes(b"abc")
    assert input_hash(tmp_path / "a") == hashlib.blake2b(b"abc", digest_size=16).hexdigest()


def test_hash_of_a_folder_depends_on_contents_and_names_alone(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "x").write_bytes(b"ab")
        (tmp_path / name / "y").write_bytes(b"c")
    first = input_hash(tmp_path / "one")
    assert input_hash(tmp_path / "two") == first
    (tmp_path / "two" / "y").write_bytes(b"d")
    assert input_hash(tmp_path / "two") != first
    (tmp_path / "one" / "y").rename(tmp_path / "one" / "z")
    assert input_hash(tmp_path / "one") != first


def test_missing_input_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot read input"):
        input_hash(tmp_path / "none")


def test_peak_memory_is_of_this_process_and_not_of_its_parent():
    ballast = bytearray(300 * 2**20)
    ballast[:: 2**12] = b"x" * len(ballast[:: 2**12])
    code = "from wedge.provenance import peak_memory_bytes; print(peak_memory_bytes())"
    child = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 5 * 2**20 < child < 200 * 2**20
    assert peak_memory_bytes() >= resident_bytes() > 300 * 2**20
    del ballast


def test_the_cost_of_a_gpu_is_told_where_there_was_one() -> None:
    record = {"seconds": 1.5, "peak_memory_bytes": 3, "device_peak_memory_bytes": None, "seed": 0}
    assert cost_of(record) == {"seconds": 1.5, "peak_memory_bytes": 3}
    assert cost_of(record | {"device_peak_memory_bytes": 7}) == {"seconds": 1.5, "peak_memory_bytes": 3, "device_peak_memory_bytes": 7}
