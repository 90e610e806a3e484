"""Writes the .pth fixtures of `data/` with PyTorch itself; run by hand.

The tests need only the files. `expected.npz` holds what PyTorch's own load gives, under `<file>|<key>`.
"""

import io
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"


def cases() -> dict[str, object]:
    torch.manual_seed(0)
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 7
    state = OrderedDict(a=torch.randn(3, 4), b=torch.randn(4))
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    half = torch.tensor([1.5, -0.0, float("nan"), float("inf"), 3e38]).to(torch.bfloat16)
    numbers = torch.tensor([0, 1, 5])
    kinds = [torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]
    kinds += [torch.bool, torch.complex64, torch.complex128]
    shared = torch.arange(10.0)
    return {
        "state": state,
        "module_state": module.state_dict(),
        "nest": {"params": state, "params_ema": OrderedDict((k, v + 1) for k, v in state.items())},
        "parallel": OrderedDict((f"module.{k}", v) for k, v in state.items()),
        "kinds": {str(kind).removeprefix("torch."): numbers.to(kind) for kind in kinds},
        "bf16": {"w": half},
        "views": {
            "transposed": base.t(),
            "sliced": base[1:3, ::2],
            "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
            "empty": torch.zeros(0, 3),
            "scalar": torch.tensor(2.5),
            "offset": base.reshape(-1)[5:],
        },
        "shared": {"whole": shared, "tail": shared[5:], "again": shared},
        "parameters": {
            "state_dict": {"p": torch.nn.Parameter(torch.ones(2))},
            "epoch": 3,
            "lr": 1e-4,
            "note": "x",
        },
        "list": [{"dual.weight": torch.randn(2, 2)}, {"dual.weight": torch.randn(1, 2)}],
        "refused_expanded": {"w": torch.zeros(1).expand(1000)},
        "refused_float8": {"w": torch.zeros(2).to(torch.float8_e4m3fn)},
        "refused_module": module,
        "refused_numpy": {"w": torch.zeros(2), "n": np.float64(3.0)},
        "refused_counter": {"w": torch.zeros(2), "c": Counter("ab")},
    }


def flatten(value: object, prefix: str = "") -> dict[str, np.ndarray]:
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return {prefix: (value.float() if value.dtype == torch.bfloat16 else value).numpy()}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    result: dict[str, np.ndarray] = {}
    for key, item in items:
        result.update(flatten(item, f"{prefix}/{key}" if prefix else str(key)))
    return result


def main() -> None:
    expected = {}
    DATA.mkdir(exist_ok=True)
    for name, value in cases().items():
        for kind, new in (("zip", True), ("legacy", False)):
            buffer = io.BytesIO()
            torch.save(value, buffer, _use_new_zipfile_serialization=new)
            (DATA / f"{name}_{kind}.pth").write_bytes(buffer.getvalue())
            if name.startswith("refused"):
                continue
            buffer.seek(0)
            for key, array in flatten(torch.load(buffer, weights_only=True)).items():
                expected[f"{name}_{kind}|{key}"] = array
    np.savez_compressed(DATA / "expected.npz", **expected)


if __name__ == "__main__":
    main()
