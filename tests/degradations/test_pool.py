"""The training-pair pool keeps together what belongs together."""

import numpy as np
import paddle
import pytest

from ppsr.degradations.pool import TrainingPairPool


def _batch(number, size=2):
    marks = np.arange(number * size, (number + 1) * size, dtype=np.float32)
    images = {
        name: paddle.to_tensor(np.tile(marks[:, None, None, None], (1, 3, side, side)))
        for name, side in (("lq", 2), ("lq_x2", 4), ("lq_x4", 8), ("gt", 16))
    }
    return {**images, "paired": paddle.to_tensor(marks), "degradation_params": paddle.to_tensor(marks)}


class _Published:
    """The pool as lists of arrays that are shuffled whole."""

    def __init__(self, size, seed):
        self.size, self.seed, self.swaps, self.stored = size, seed, 0, []

    def __call__(self, marks):
        if len(self.stored) < self.size:
            self.stored += list(marks)
            return marks
        order = np.random.default_rng([self.seed, self.swaps]).permutation(self.size)
        self.swaps += 1
        self.stored = [self.stored[i] for i in order]
        out, self.stored[: len(marks)] = self.stored[: len(marks)], list(marks)
        return np.array(out)


def _marks(batch):
    return batch["lq"].numpy()[:, 0, 0, 0]


def test_pairs_come_back_as_from_a_queue_that_is_shuffled_whole():
    pool, published = TrainingPairPool(6, seed=3), _Published(6, 3)
    for number in range(12):
        batch = _batch(number)
        expected = published(_marks(batch))
        np.testing.assert_array_equal(_marks(pool(batch)), expected)
        np.testing.assert_array_equal(pool.state_dict()["lq"][:, 0, 0, 0], published.stored)


@pytest.mark.parametrize("saved_after", [1, 3, 8])
def test_a_pool_goes_on_from_its_state(saved_after):
    one = TrainingPairPool(6, seed=3)
    for number in range(saved_after):
        one(_batch(number))
    other = TrainingPairPool(6, seed=3)
    other.set_state_dict(one.state_dict())
    for number in range(saved_after, saved_after + 6):
        np.testing.assert_array_equal(_marks(other(_batch(number))), _marks(one(_batch(number))))


def test_the_host_never_waits_for_the_pool(no_waiting):
    pool = TrainingPairPool(6)
    for number in range(6):
        pool(_batch(number))
    assert pool.swaps == 3


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
