"""The catalogue as data: complete, consistent with the networks and with published keys, and listed."""

import gzip
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from ppsr.errors import WeightError
from ppsr.generators.variants import find_variant
from ppsr.registry import GENERATORS, check_arguments
from ppsr.weights import read_weight_file
from ppsr.weights.catalogue import entries
from ppsr.weights.fetch import resolve_weights
from ppsr.weights.identify import identify
from ppsr.weights.loading import load_state, transposed_keys
from tests.command import run_ppsr

ENTRIES = entries()
MODELS = [entry for entry in ENTRIES if entry.scale]


def test_names_are_unique_and_can_be_typed() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names) > 70
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) for name in names)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_entry_is_complete(entry) -> None:
    assert entry.purpose and entry.author and entry.sources
    for source in entry.sources:
        assert source.files and bool(source.package) == bool(source.version)
        for file in source.files:
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert (file.sha256 is None) == (file.size is None)
            for url in (*file.urls, *filter(None, [source.page])):
                assert urlsplit(url).scheme == "https", url
        assert source.package or source.page or source.direct, (
            "neither a package, a page nor checked addresses"
        )
        assert not source.package or all(file.sha256 for file in source.files)


@pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
def test_network_exists_and_has_these_options(entry) -> None:
    network = dict(entry.network)
    if "variant" in network:
        assert find_variant(network["variant"]).scale == entry.scale
        return
    name = network.pop("name")
    assert check_arguments(GENERATORS.get(name), network, entry.name) is None
    network = network.get("generator", network)  # BlindSR holds one
    scale = network.get("outscale") or network.get("upscale", network.get("scale"))
    assert (scale[-1] if isinstance(scale, list) else scale) == entry.scale  # DRN lists its levels


def run(*args: str):
    return run_ppsr("models", *args)


def test_list_is_filtered_and_has_addresses() -> None:
    rows = run("list", "--purpose", "photo", "--scale", "4", "--licence", "bsd").stdout.splitlines()
    assert any(row.startswith("realesrgan-x4plus ") for row in rows)
    assert not any(row.startswith(("realesrgan-x2plus", "realesrgan-x4plus-anime")) for row in rows)
    assert len(re.findall(r"https://", run("list").stdout)) > 60
    assert json.loads(run("list", "--like", "drn-s-x4", "--json").stdout)["name"] == "drn-s-x4"
    shown = run("show", "realsr-df2k-x4").stdout
    assert "a3f5eb53906ef54d5c5d125b2c9dd5f570d9dbb779e3d934df14b5375fd923c1" in shown
    assert run("list", "--scale", "7").stdout.startswith("none matches")


@pytest.mark.parametrize("name", ["realesrgan-x4pluss", "RealESRGAN_x4plus", "real_esrgan_x4plus"])
def test_unknown_name_has_the_nearest(name: str) -> None:
    with pytest.raises(WeightError, match="did you mean 'realesrgan-x4plus'"):
        resolve_weights(name)


def test_parameters_of_a_metric_are_refused_as_weights_before_a_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ppsr.weights.fetch.get_entry", lambda entry: pytest.fail("a download"))
    with pytest.raises(WeightError, match="niqe-parameters holds parameters of a metric, not a network"):
        read_weight_file("niqe-parameters")


KEYS = Path(__file__).parent / "keys"
# list of keys -> variant with exactly these
OTHERS = {
    "drct_x4": "DRCT_x4",
    "drct_l_x4": "DRCT-L_x4",
    "hat_s_x4": "HAT-S_x4",
    "hat_x4": "HAT_x4",
    "hat_l_x4": "HAT-L_x4",
    "mambair_x4": "MambaIR_x4",
    "mambair_light_x4": "MambaIR-light_x4",
    "swinir_m_x4": "SwinIR-M_x4",
    "swinir_real_m_x4": "SwinIR-Real-M_x4",
}


def read_keys(name: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """key -> (shape in PyTorch's layout, param or buffer)."""
    lines = gzip.decompress((KEYS / f"{name}.tsv.gz").read_bytes()).decode().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return {key: (tuple(int(n) for n in shape.split("x") if n), kind) for key, shape, _, kind in rows}


def test_every_list_is_tested() -> None:
    assert {p.name.removesuffix(".tsv.gz") for p in KEYS.glob("*.tsv.gz")} == set(OTHERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_released_file_is_recognised_and_loads_into_the_variant(name: str, undrawn: None) -> None:
    published = read_keys(name)
    one = np.ones(1, np.float32)  # which all arrays share, so that none needs memory
    state = {
        key: np.lib.stride_tricks.as_strided(one, shape, (0,) * len(shape))
        for key, (shape, _) in published.items()
    }
    net = find_variant(OTHERS[name]).build()
    turned = transposed_keys(net)
    ours = {
        key: tuple(reversed(value.shape)) if key in turned else tuple(value.shape)
        for key, value in net.state_dict().items()
    }
    assert ours == {key: shape for key, (shape, kind) in published.items() if kind == "param"}
    assert load_state(net, state, layout="torch") == []  # buffers are left out by name
    assert all((p.numpy() == 1).all() for p in net.parameters()[:5])
    found, arguments = identify(state)
    again = GENERATORS.build({"name": found, **arguments})
    assert type(again) is type(net)
    assert [p.shape for p in again.parameters()] == [p.shape for p in net.parameters()]
