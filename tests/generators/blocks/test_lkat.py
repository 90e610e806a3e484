from __future__ import annotations

import numpy as np
import paddle

from ppsr.generators.blocks.lkat import LKAT


def test_published_size():
    assert sum(int(np.prod(p.shape)) for p in LKAT(64).parameters()) == 20_928


def test_a_pixel_sees_a_neighbourhood_of_31_by_31():
    net = LKAT(2)
    x = paddle.rand([1, 2, 41, 41])
    x.stop_gradient = False
    net(x)[:, :, 20, 20].sum().backward()
    rows, columns = np.nonzero(x.grad.numpy()[0, 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 35, 5, 35)
