"""The training-pair pool keeps together what belongs together."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppsr.degradations.pool import TrainingPairPool


def _batch(number, size=2):
    marks = np.arange(number * size, (number + 1) * size, dtype=np.float32)
    pictures = {
        name: paddle.to_tensor(np.tile(marks[:, None, None, None], (1, 3, side, side)))
        for name, side in (("lq", 2), ("lq_x2", 4), ("lq_x4", 8), ("gt", 16))
    }
    return {**pictures, "paired": paddle.to_tensor(marks), "degradation_params": paddle.to_tensor(marks)}


@pytest.mark.parametrize("queue_params", [True, False])
def test_every_entry_of_a_pair_travels_with_it(queue_params):
    pool = TrainingPairPool(6, queue_params=queue_params)
    came_back = []
    for number in range(20):
        batch = pool({**_batch(number), "gt_path": ["a", "b"]})
        marks = batch["lq"].numpy()[:, 0, 0, 0]
        for name in ("lq_x2", "lq_x4", "gt"):
            np.testing.assert_array_equal(batch[name].numpy()[:, 0, 0, 0], marks, err_msg=name)
        np.testing.assert_array_equal(batch["paired"].numpy(), marks)
        own = np.array_equal(batch["degradation_params"].numpy(), _batch(number)["paired"].numpy())
        assert own or queue_params
        came_back.append(not np.array_equal(marks, _batch(number)["paired"].numpy()))
        assert batch["gt_path"] == ["a", "b"]
    assert any(came_back)
