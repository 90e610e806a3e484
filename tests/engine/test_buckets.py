"""Averages of gradients in buckets, with the other rank played by what the sum adds."""

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.distributed.fleet.utils import recompute

from ppsr.engine.buckets import GradientBuckets

NEVER = paddle.zeros([1])


class _Rank:
    """Adds what the other rank sends to each sum, and notes how many layers had not gone backward then."""

    def __init__(self, sent=None):
        self.sent = iter(sent) if sent is not None else None
        self.received, self.pending, self.left = [], [], set()

    def __call__(self, flat):
        self.received.append(flat.numpy().copy())
        self.pending.append(len(self.left))
        flat.add_(paddle.to_tensor(next(self.sent)) if self.sent is not None else flat)


def _net():
    paddle.seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))


def _gradients(net):
    return [None if p.grad is None else p.grad.numpy().copy() for p in net.parameters()]


def _clear(net):
    for parameter in net.parameters():
        parameter.clear_gradient(False)


def _loss(net, seed):
    return net(paddle.to_tensor(np.random.default_rng(seed).random((5, 3), np.float32))).square().mean()


@pytest.mark.parametrize("size", [1, 60, 10_000])
def test_gradients_are_the_means_of_both_ranks(size):
    both = []
    for seed in (1, 2):
        net = _net()
        _loss(net, seed).backward()
        both.append(_gradients(net))
    other = _Rank()
    net = _net()
    buckets = GradientBuckets(net.parameters(), 2, other, size=size)
    _loss(net, 2).backward()
    buckets.finish([NEVER])  # what the other rank sends

    net = _net()
    rank = _Rank(other.received)
    buckets = GradientBuckets(net.parameters(), 2, rank, size=size)
    buckets.start()
    _loss(net, 1).backward()
    flags = buckets.finish([paddle.ones([1])])
    np.testing.assert_array_equal(flags.numpy(), [2.0] * 6 + [1.0])
    for gradient, one, two in zip(_gradients(net), *both, strict=True):
        np.testing.assert_allclose(gradient, (one + two) / 2, rtol=1e-6)
    assert len(rank.received) == {1: 7, 60: 5, 10_000: 2}[size]


def test_buckets_are_summed_while_backward_goes_on():
    net = _net()
    rank = _Rank()
    for layer in net:
        layer.weight.register_hook(lambda grad, layer=layer: rank.left.discard(layer))
    buckets = GradientBuckets(net.parameters(), 2, rank, size=1)
    for step in range(2):
        rank.left, rank.pending = set(net), []
        buckets.start()
        _loss(net, step).backward()
        buckets.finish([NEVER])
        _clear(net)
    # the last layer's bias first, then weight and bias of each layer, then the flags
    assert rank.pending[0] == 3
    assert rank.pending[2] >= 1
    assert rank.pending == sorted(rank.pending, reverse=True)


def test_a_parameter_that_one_rank_does_not_use_counts_as_zero_there():
    net = _net()
    sent = [np.arange(p.size, dtype=np.float32) for p in net.parameters()[::-1]]
    buckets = GradientBuckets(
        net.parameters(), 2, _Rank([*sent, np.array([1, 0, 0, 1, 0, 0, 0], "f4")]), size=1
    )
    buckets.start()
    net[1](paddle.ones([1, 4])).sum().backward()
    flags = buckets.finish([NEVER])
    np.testing.assert_array_equal(flags.numpy(), [1, 0, 1, 2, 0, 0, 0])
    np.testing.assert_array_equal(net[0].weight.grad.numpy().ravel(), np.arange(12) / 2)
    np.testing.assert_array_equal(net[1].bias.grad.numpy(), (np.arange(4) + 1) / 2)


def test_a_gradient_that_grows_several_times_in_a_backward_pass_is_summed_at_its_end():
    paddle.seed(0)
    net = nn.Linear(3, 3)
    rank = _Rank()
    buckets = GradientBuckets(net.parameters(), 2, rank, size=1)
    x = paddle.ones([1, 3])
    x.stop_gradient = False
    for _ in range(3):
        rank.received.clear()
        buckets.start()
        recompute(net, recompute(net, x)).sum().backward()
        got = _gradients(net)
        buckets.finish([NEVER])
        np.testing.assert_array_equal(rank.received[-2], got[0].ravel())
        _clear(net)


def test_data_types_do_not_mix_in_a_bucket():
    net = _net()
    net[1].to(dtype="float64")
    rank = _Rank()
    buckets = GradientBuckets(net.parameters(), 2, rank)
    for parameter in net.parameters():
        parameter.grad = paddle.ones_like(parameter)
    buckets.finish([NEVER])
    assert [values.dtype for values in rank.received[:-1]] == [np.float32, np.float64, np.float32]
    for parameter in net.parameters():
        np.testing.assert_array_equal(parameter.grad.numpy(), np.ones(parameter.shape))
