"""Networks of the sizes that tests use."""

import paddle

from ppsr.registry import GENERATORS


def network(name: str, seed: int = 0, **changes):
    """The test network of a registered class."""
    cls = GENERATORS.get(name)
    paddle.seed(seed)
    net = cls(**{**cls.test_args, **changes})
    net.eval()
    return net
