"""Writes the paddle-made fixtures of `data/` with Paddle itself; run by hand, once under each Paddle version.

The tests need only the files. `expected_paddle.npz` holds what Paddle's own load gives, under `<file>|<key>`.
"""

from pathlib import Path

import numpy as np
import paddle

DATA = Path(__file__).parent / "data"
VERSION = "".join(paddle.__version__.split(".")[:2])


def cases() -> dict[str, tuple[object, str, dict[str, int]]]:
    """Name -> object, suffix, options of paddle.save."""
    paddle.seed(0)
    net = paddle.nn.Sequential(paddle.nn.Conv2D(1, 2, 3), paddle.nn.BatchNorm2D(2), paddle.nn.Linear(3, 4))
    other = paddle.nn.Linear(2, 2)
    rate = paddle.optimizer.lr.StepDecay(0.1, 3)
    optimizer = paddle.optimizer.Adam(rate, parameters=other.parameters())
    other(paddle.ones([1, 2])).sum().backward()
    optimizer.step()
    rate.step()
    kinds = ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    numbers = paddle.to_tensor([0.0, 1.0, 5.0])
    state = net.state_dict()
    return {
        "state_protocol2": (state, ".pdparams", {"protocol": 2}),
        "state_protocol3": (state, ".pdparams", {"protocol": 3}),
        "state_protocol4": (state, ".pdparams", {"protocol": 4}),
        "optimizer": (optimizer.state_dict(), ".pdopt", {}),
        "nets": ({"generator": state, "dual_model_0": other.state_dict()}, ".pdparams", {}),
        "checkpoint": (
            {"state_dict": state, "optim": optimizer.state_dict(), "iter": 7, "note": "x"},
            ".pdparams",
            {},
        ),
        "kinds": ({kind: numbers.astype(kind) for kind in kinds}, ".pdparams", {}),
        "shapes": (
            {"scalar": paddle.to_tensor(2.5), "empty": paddle.zeros([0, 3]), "turned": paddle.rand([2, 3]).T},
            ".pdparams",
            {},
        ),
        "arrays": ({"numpy": np.arange(6.0).reshape(2, 3), "list": [paddle.ones([2]), 3]}, ".pdparams", {}),
    }


def flatten(value: object, prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays by path; plain values as arrays too."""
    items = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None:
        return {prefix: np.asarray(value)}
    result: dict[str, np.ndarray] = {}
    for key, item in items:
        result |= flatten(item, f"{prefix}/{key}" if prefix else str(key))
    return result


def main() -> None:
    target = DATA / "expected_paddle.npz"
    expected = dict(np.load(target)) if target.exists() else {}
    for name, (value, suffix, options) in cases().items():
        stem = f"paddle{VERSION}_{name}"
        paddle.save(value, str(DATA / f"{stem}{suffix}"), **options)
        loaded = paddle.load(str(DATA / f"{stem}{suffix}"), return_numpy=True)
        expected |= {f"{stem}|{key}": array for key, array in flatten(loaded).items()}
    np.savez_compressed(target, **expected)


if __name__ == "__main__":
    main()
