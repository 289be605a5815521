"""Device helpers on the CPU, and the choice of bfloat16 by the kind of CPU."""

import numpy as np
import pytest
import torch
from dream.common import runs
from dream.common.device import cache_on_device, device_generator, mask_indices
from small import CPU
from training_helpers import seeded


def test_on_the_cpu_nothing_is_copied_and_one_generator_draws_everything():
    generator, frames = seeded(), np.zeros((2, 3), np.uint8)
    assert device_generator(CPU, generator) is generator
    frames.flags.writeable = False  # like a memory-mapped recording
    assert cache_on_device(frames, CPU).data_ptr() == frames.ctypes.data
    assert mask_indices(torch.tensor([True, False, True]), CPU).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("cpu", "is_fast"),
    [("GenuineIntel avx512_bf16", False), ("GenuineIntel avx512_bf16 amx_bf16", True),
     ("AuthenticAMD avx512_bf16", True)],
)  # fmt: skip
def test_bfloat16_is_chosen_by_the_kind_of_cpu(monkeypatch, cpu, is_fast):
    """The instructions alone do not make it fast; by a timing, two runs on one machine could choose differently."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(runs.platform, "processor", lambda: cpu)
    monkeypatch.setattr(runs.Path, "exists", lambda path: False)
    assert runs.cpu_bfloat16_is_fast.__wrapped__() is is_fast
    monkeypatch.setattr(runs, "cpu_bfloat16_is_fast", lambda: is_fast)
    with runs.autocast(CPU):
        assert torch.is_autocast_enabled("cpu") is is_fast
