"""Ranks wait for each other, and are refused where they were started for different trainings."""

import copy
import threading
from collections import Counter

import paddle
import pytest

from ppsr.engine.distributed import Group, LostRankError, Rendezvous, check_equal_ranks, rank_settings
from ppsr.errors import ConfigError

CONFIG = {
    "seed": 3,
    "output_dir": "output",
    "dataset": {"train": {"gt_folder": "/data/hr", "batch_size": 4}},
    "lr_scheduler": {"name": "MultiStepDecay", "learning_rate": 1e-4, "milestones": [5, 8]},
}


class _Images:
    def __init__(self, *paths):
        self.items = paths

    def __len__(self):
        return len(self.items)


class _Group(Group):
    """Ranks of which the others are given."""

    def __init__(self, *others):
        super().__init__(0, 1 + len(others))
        self.others = others

    def gather(self, value):
        return [value, *self.others]


def _facts(config=CONFIG, paths=("/data/hr/a.png", "/data/hr/b.png"), width=2):
    return rank_settings(config, _Images(*paths), {"generator": paddle.nn.Linear(2, width)})


def test_ranks_may_keep_the_same_files_in_different_places():
    config = copy.deepcopy(CONFIG)
    config["dataset"]["train"]["gt_folder"], config["output_dir"] = "/scratch/hr", "/scratch/output"
    check_equal_ranks(_Group(_facts(config, ("/scratch/hr/a.png", "/scratch/hr/b.png"))), _facts())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"config": {**CONFIG, "seed": 4}}, "rank 2 .* seed is 4, on rank 0 3;"),
        ({"config": {k: v for k, v in CONFIG.items() if k != "seed"}}, "seed is not set, on rank 0 3;"),
        (
            {"config": {**CONFIG, "lr_scheduler": {**CONFIG["lr_scheduler"], "learning_rate": 2e-4}}},
            "lr_scheduler.learning_rate is 0.0002, on rank 0 0.0001;",
        ),
        ({"config": {**CONFIG, "ema": {"decay": 0.9}}}, "ema.decay is 0.9, on rank 0 not set"),
        ({"paths": ("/data/hr/a.png",)}, "number of training samples is 1, on rank 0 2"),
        ({"paths": ("/data/hr/b.png", "/data/hr/a.png")}, "names of the training images"),
        ({"width": 3}, "parameters of generator"),
    ],
)
def test_the_first_difference_is_named(other, message):
    with pytest.raises(ConfigError, match=message):
        check_equal_ranks(_Group(_facts(), _facts(**other)), _facts())


class _Store:
    def __init__(self):
        self.counts, self.lock = Counter(), threading.Lock()

    def add(self, key, amount):
        with self.lock:
            self.counts[key] += amount
            return self.counts[key]


def test_a_rank_whose_store_has_ended_says_so():
    class Ended:
        def add(self, key, amount):
            raise ValueError("(InvalidArgument) TCP send error. Details: Broken pipe.")

    with pytest.raises(LostRankError, match="the process of rank 0 has ended"):
        Rendezvous(Ended(), 1, 2).wait()


@pytest.mark.parametrize("world", [2, 3])
def test_nobody_goes_on_before_all_have_come(world):
    store, lock = _Store(), threading.Lock()
    arrived, seen = Counter(), []

    def rank(number):
        rendezvous = Rendezvous(store, number, world)
        for turn in range(20):
            with lock:
                arrived[turn] += 1
            rendezvous.wait()
            with lock:
                seen.append(arrived[turn])

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert seen == [world] * (20 * world)
