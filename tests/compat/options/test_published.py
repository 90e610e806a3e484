"""Converted option files with the published values against our own configs of the same recipes."""

from pathlib import Path

import pytest
import yaml

from ppsr.compat.options import convert_options
from ppsr.config import load_config
from tests.compat.options import files, resolved

CONFIGS = Path(__file__).parents[3] / "configs"
HAT_S = {"sizes": {"embed_dim": 144, "compress_ratio": 24, "squeeze_factor": 24}, "every": 2e4}


def _transformers():
    for net in ("DRCT", "HAT"):
        for suffix, groups in (("", 6), ("_l", 12)):
            for scale in (2, 3, 4):
                for stage in ("imagenet", "finetune"):
                    name = f"{net.lower()}{suffix}_x{scale}_{stage}"
                    load = None if stage == "imagenet" else "models/net_g_latest.pth"
                    yield name, files.transformer_train(net, scale, stage, groups=groups, load=load)
    for net, scale in (("DRCT", 2), ("DRCT", 3), ("DRCT", 4), ("HAT", 2), ("HAT", 3)):
        yield f"{net.lower()}_x{scale}", files.transformer_train(net, scale, "scratch")


def _others():
    # strict_load_g is true in the released files of two of these, which cannot load an x2 network
    for name, net, sizes in (
        ("drct_x4_from_x2", "DRCT", {}),
        ("hat_x4", "HAT", {}),
        ("hat_s_x4", "HAT", HAT_S),
    ):
        yield name, files.transformer_train(net, 4, "from_x2", load="x2.pth", **sizes)
    for scale in (2, 3):
        yield f"hat_s_x{scale}", files.transformer_train("HAT", scale, "scratch", **HAT_S)
    for net in ("DRCT", "HAT"):
        yield f"real_{net.lower()}_mse_x4", files.real_train(net, gan=False)
        yield f"real_{net.lower()}_gan_x4", files.real_train(net, gan=True, load="mse.pth")
    yield "realsrresnet_x4", files.reflash_train("MSRResNet_detailss")
    yield "realsrresnet_dropout_x4", files.reflash_train("MSRResNet_details_dropoutlast_channel07")
    yield "realsrresnet_dropout_probability_x4", files.reflash_train("MSRResNet_details_droplast_channel05")
    yield "realsrresnet_dropout_position_x4", files.reflash_train("MSRResNet_details_dropb8_channel01")
    yield "realrrdb_x4", files.reflash_train("RRDBNet")
    yield "realrrdb_dropout_x4", files.reflash_train("RRDBNet_dropoutlast_channel05")
    for name, kind in (("realsrresnet_align_x4", "MSRResNet_detailss"), ("realrrdb_align_x4", "RRDBNet")):
        yield name, files.reflash_train(kind, name="train_RealSRResNetx4-reg", weight=1.0)
    yield "cddnet_x4", files.dasr_train(cddnet=True)
    blocks50 = {"network_g.num_block": 50, "train.total_iter": 50_001}
    yield "cddnet_x4_50blocks", files.changed(files.dasr_train(cddnet=True), blocks50)
    yield "dasr_x4", files.dasr_train(cddnet=False)
    yield "drn_dsr_x4", files.read("drn_dsr")
    yield "rcan_dsr_x4", files.read("rcan_dsr")


PUBLISHED = dict([*_transformers(), *_others()])


@pytest.fixture
def converted(tmp_path, request):
    path = tmp_path / "options.yml"
    path.write_text(yaml.safe_dump(PUBLISHED[request.param], sort_keys=False))
    return load_config(CONFIGS / f"{request.param}.yaml"), convert_options(path)


@pytest.mark.parametrize("converted", PUBLISHED, indirect=True)
def test_a_published_file_becomes_our_config_of_the_same_name(converted):
    ours, conversion = converted
    theirs = conversion.config
    assert not conversion.lost
    assert resolved.schedule(theirs) == resolved.schedule(ours)
    assert resolved.optimizers(theirs) == resolved.optimizers(ours)
    assert theirs.get("ema") == ours.get("ema")
    assert theirs["total_iters"] == ours["total_iters"]
    own, other = resolved.model(ours), resolved.model(theirs)
    assert other == own
    own, other = resolved.windows(ours), resolved.windows(theirs)
    if theirs["model"]["generator"]["name"] == "RCAN":
        own.pop("name"), other.pop("name")  # SRDataset there; gray depth maps are repeated by both
    assert other == own


@pytest.mark.parametrize("converted", ["drct_x2_finetune", "hat_s_x4", "real_drct_gan_x4"], indirect=True)
def test_earlier_stages_are_loaded_as_ours_are(converted):
    ours, conversion = converted
    partial = {net: load.get("partial", False) for net, load in conversion.config["load"].items()}
    assert partial == {net: load.get("partial", False) for net, load in ours["load"].items()}


@pytest.mark.parametrize("converted", ["drct_x3", "hat_x2", "realsrresnet_x4", "drn_dsr_x4"], indirect=True)
def test_metrics_are_those_of_ours(converted):
    ours, conversion = converted
    theirs = resolved.metrics(conversion.config)
    assert [metric for metric in theirs if metric["name"] != "PE"] == resolved.metrics(ours)
