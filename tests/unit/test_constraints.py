"""What constraints.txt pins fits together where no resolver looks."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import Requirement

GPU_MACHINE = {"platform_machine": "x86_64", "sys_platform": "linux", "platform_system": "Linux"}


def pinned() -> dict[str, str]:
    """Package to version, on a machine with GPUs."""
    lines = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines]
    here = [each for each in found if each.marker is None or each.marker.evaluate(GPU_MACHINE)]
    return {each.name: str(each.specifier).removeprefix("==") for each in here}


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def test_what_compiles_kernels_is_of_the_cuda_whose_headers_torch_brings() -> None:
    found = pinned()
    headers = minor(found["nvidia-cuda-runtime"])
    for name in ("nvidia-cuda-nvcc", "nvidia-cuda-crt", "nvidia-nvvm", "nvidia-cuda-cccl", "nvidia-cuda-nvrtc"):
        assert minor(found[name]) == headers, name


def test_torchvision_which_is_installed_apart_is_the_one_for_torch() -> None:
    found = pinned()
    # 0.28 is for 2.13, and so on.
    assert int(found["torchvision"].split(".")[1]) == int(found["torch"].split(".")[1]) + 15
