"""What lies side by side is turned as torch turns it: by a kernel on a GPU, here by Triton's interpreter."""

import pytest
import torch

# Triton decides when it is imported whether kernels are interpreted.
with pytest.MonkeyPatch.context() as patch:
    if not torch.cuda.is_available():
        patch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton")
    from wedge_torch.turning_kernel import turn

from wedge_torch.turning import turned

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("shape", [(5, 7), (64, 64), (65, 130), (130, 65), (128, 1), (1, 200), (0, 3), (3, 0)], ids=str)
def test_a_kernel_turns_as_torch_does(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    if DEVICE.type == "cpu":
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    found = turn(batch)
    assert found.is_contiguous()
    assert torch.equal(found, batch.t())


@pytest.mark.parametrize("shape", [(6, 2**20), (3, 5)], ids=str)
@pytest.mark.parametrize("kind", ["whole", "part", "double"])
def test_whatever_lies_there_is_turned(shape: tuple[int, int], kind: str) -> None:
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    batch = {"whole": batch, "part": batch[:, 1:], "double": batch.double()}[kind]
    found = turned(batch)
    assert found.is_contiguous()
    assert torch.equal(found, batch.t())
    assert found.dtype == batch.dtype
