"""What becomes of keys that have no counterpart, and of wrong files."""

import copy

import pytest
import yaml

from ppsr.compat.options import convert_options, notes_of, to_text
from ppsr.config import check_config, load_config
from ppsr.errors import ConfigError
from tests.compat.options import files

DRCT = files.transformer_train("DRCT", 4, "scratch")
REFLASH = files.reflash_train("MSRResNet_details")
DASR = files.dasr_train(cddnet=False)
PADDLE = files.read("rcan_dsr")
PIPELINE = PADDLE["dataset"]["train"]["preprocess"][2]["pipeline"]
TRAIN = "datasets.train"


@pytest.fixture
def convert(tmp_path):
    """Convert options, with other values at dotted keys, or a text."""

    def run(options, values=None, **arguments):
        path = tmp_path / "options.yml"
        text = options if isinstance(options, str) else yaml.safe_dump(files.changed(options, values or {}))
        path.write_text(text)
        return convert_options(path, **arguments)

    return run


def _leaves(node, path=()):
    if isinstance(node, dict):
        for key, child in node.items():
            yield from _leaves(child, (*path, key))
    else:
        yield path


@pytest.mark.parametrize(
    "key",
    [
        *("network_g.shiny_new", "half_precision", "datasets.train.mean"),
        *("train.optim_g.amsgrad", "train.scheduler.restarts", "logger.wandb.project"),
    ],
)
def test_a_key_without_a_counterpart_is_listed(convert, key, tmp_path):
    conversion = convert(DRCT, {key: [0.4, 0.4]})
    assert [note.key for note in conversion.lost] == [key]
    written = to_text(conversion, tmp_path / "out.yaml")
    head = "".join(line for line in written.splitlines(keepends=True) if line.startswith("#"))
    assert "lost" in head and key in head
    assert any(key in line for line in notes_of(conversion))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(DRCT, id="drct"),
        pytest.param(files.real_train("HAT", gan=True), id="real-hat-gan", marks=pytest.mark.slow),
        pytest.param(files.dasr_train(cddnet=True), id="cddnet", marks=pytest.mark.slow),
    ],
)
def test_no_key_of_a_file_can_change_unnoticed(convert, options):
    """Another value changes the config or the notes, or is refused."""
    before = convert(options)
    noted = {tuple(note.key.split(".")) for note in (*before.lost, *before.explained)}
    leaves = list(_leaves(options))
    assert len(leaves) > 50
    for path in leaves:
        if any(path[:end] in noted for end in range(1, len(path) + 1)):
            continue
        try:
            after = convert(_with_another(options, path))
        except ConfigError:
            continue
        assert (after.config, notes_of(after)) != (before.config, notes_of(before)), path


def _with_another(values, path):
    """The file with one value changed to another of its type."""
    changed = copy.deepcopy(values)
    node = changed
    for key in path[:-1]:
        node = node[key]
    old = node[path[-1]]
    if isinstance(old, bool):
        new = not old
    elif isinstance(old, list):
        new = [*old, old[-1]]
    elif isinstance(old, (int, float)):
        new = old + 2
    else:
        new = f"{old}x"
    node[path[-1]] = new
    return changed


def test_another_rate_of_the_discriminator_is_kept(convert):
    options = files.real_train("DRCT", gan=True)
    optimizers = convert(options, {"train.optim_d.lr": 4e-4}).config["optimizer"]
    assert optimizers["optimD"]["learning_rate"] == 4e-4
    assert "learning_rate" not in optimizers["optimG"]


def test_changed_ranges_of_a_level_are_kept(convert):
    conversion = convert(DASR, {"jpeg_range_weak1": [60, 80]})
    degradation = {"weak": {"stages": [{"jpeg_range": [60, 80]}]}}
    assert conversion.config["dataset"]["train"]["degradation"] == degradation


def test_changed_ranges_of_the_second_order_are_kept(convert):
    conversion = convert(REFLASH, {"jpeg_range2": [50, 60]})
    steps = conversion.config["dataset"]["train"]["degradation"]["operations"]
    assert steps[-1]["groups"][1] == [{"name": "jpeg", "jpeg_range": [50, 60]}]


@pytest.mark.parametrize(
    ("kind", "dropout"),
    [
        ("MSRResNet_details", None),
        ("MSRResNet_dropoutlast_element07", {"type": "element", "p": 0.7, "positions": ["last"]}),
        ("MSRResNet_dropb8last_channel03", {"type": "channel", "p": 0.3, "positions": ["b8", "last"]}),
        ("MSRResNet_details_dropfirst_channel01", {"type": "channel", "p": 0.1, "positions": ["first"]}),
    ],
)
def test_dropout_is_read_from_the_class_name(convert, kind, dropout):
    generator = convert(files.reflash_train(kind)).config["model"]["generator"]
    assert generator["name"] == "MSRResNet"
    assert generator.get("dropout") == dropout


def test_alignment_is_on_only_by_the_name_of_the_experiment(convert):
    plain = convert(files.reflash_train("MSRResNet_detailss", weight=1e3))
    assert plain.config["model"]["name"] == "SRModel"
    assert "weight" in {note.key for note in plain.explained}


def test_one_of_several_test_sets_is_chosen_by_name(convert):
    options = files.read("reflash_test")
    by_default, chosen = convert(options), convert(options, test_set="B100")
    assert by_default.config["dataset"]["test"]["gt_folder"] == "a"
    assert chosen.config["dataset"]["test"]["gt_folder"] == "e"
    assert any("dataset.test.gt_folder=c" in line for line in notes_of(chosen))
    with pytest.raises(ConfigError, match="no test set 'Set6'; did you mean 'Set5'"):
        convert(options, test_set="Set6")


def test_folders_templates_and_stores_are_kept(convert):
    values = {f"{TRAIN}.filename_tmpl": "{}x4", f"{TRAIN}.dataroot_gt": ["DF2K/HR"]}
    train = convert(DRCT, values).config["dataset"]["train"]
    assert (train["filename_tmpl"], train["gt_folder"]) == ("{}x4", "DF2K/HR")
    store = {"io_backend.type": "lmdb", "dataroot_gt": "HR.lmdb", "meta_info_file": "x.txt"}
    config = convert(DRCT, {f"{TRAIN}.{key}": value for key, value in store.items()}).config
    train = config["dataset"]["train"]
    assert train["gt_folder"] == "HR.lmdb"
    assert "meta_info" not in train, "a store has its own list"


def test_mambair_is_converted_with_its_network(convert):
    sizes = {"upscale": 2, "d_state": 10, "depths": [6, 6], "embed_dim": 60, "mlp_ratio": 1.2}
    options = files.transformer_train("DRCT", 2, "scratch")
    options |= {"model_type": "MambaIRModel", "network_g": {"type": "MambaIR", **sizes}}
    config = convert(options).config
    assert config["model"]["name"] == "SRModel"
    assert config["model"]["generator"] == {"name": "MambaIR", **sizes}


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (DRCT, {"model_type": "EDVRModel"}, "the model_type 'EDVRModel' has no"),
        (DRCT, {"model_type": ["SRModel"]}, "has no counterpart"),
        (DRCT, {"network_g.type": "EDSR"}, "the network 'EDSR' has no counterpart"),
        (DRCT, {"train.pixel_opt.type": "WeightedTVLoss"}, "unknown criterion 'WeightedTVLoss'"),
        (DRCT, {"train.scheduler.type": "LinearLR"}, "the schedule 'LinearLR' has no counterpart"),
        (DRCT, {"network_g.embed_dim": "wide"}, "'model.generator.embed_dim' is 'wide'"),
        (DRCT, {"network_g.upscale": 3}, "network_g upscales by 3, but scale is 4"),
        (DRCT, {"val.val_freq": "often"}, "'validate.interval' is 'often'"),
        (DRCT, {f"{TRAIN}.gt_size": 25.6}, "'dataset.train.gt_size' is 25.6"),
        (DRCT, {f"{TRAIN}.dataroot_gt": ["a", "b"]}, "one folder is needed"),
        (DRCT, {"scale": None}, "the key 'scale' is missing"),
        (DRCT, {"scale": True}, "'scale' is True: a number is needed"),
        (DRCT, {"network_g": 3}, "mapping of keys is needed"),
        (REFLASH, {"jpeg_range2": None}, "the key 'jpeg_range2' is missing"),
        (REFLASH, {"gt_usm": None}, "the key 'gt_usm' is missing"),
        (DASR, {"degree_prob": ["x", 0.3, 0.4]}, "a number for each of the 3 entries"),
        (DASR, {"degree_prob": [0.3, 0.4]}, "a number for each of the 3 entries"),
        (DASR, {"gray_noise_prob_weak1": [1]}, "a number is needed"),
        ("just a text", {}, "has no keys"),
        ("a: 1\na: 2\n", {}, "the key 'a' is given twice"),
        ("x.z: 1\nmodel_type: SRModel\nnetwork_g: 1", {}, "contains a dot"),
        ("x: 1\ny: 2\n", {}, "its keys: x, y"),
        ("base: drct_x4.yaml\n", {}, "looks like a configuration of ppsr"),
        (PADDLE, files.STD_255, "the network expects images in 0..255"),
        (
            PADDLE,
            {"dataset.train.preprocess.2.pipeline": [*PIPELINE[:3], *PIPELINE[4:]]},
            "come together here",
        ),
        (PADDLE, {"model.name": "PMBAModel"}, "model 'PMBAModel' has no counterpart"),
        (PADDLE, {"dataset.train.name": "HDF5Dataset"}, "'HDF5Dataset' has no"),
        (PADDLE, {"optimizer.name": "Lamb"}, "unknown optimizer 'Lamb'"),
        (PADDLE, {"optimizer.weight_decay": {"name": "L1", "value": 1}}, "'L1' has no"),
        (PADDLE, {"dataset.train": {"name": "RepeatDataset", "times": 2}}, "train.dataset: a mapping"),
        (PADDLE, {"dataset": 5}, "'dataset' is 5"),
        (PADDLE, {"dataset.train.scale": "x"}, "dataset.train.scale: a number is needed"),
        (PADDLE, {"model.generator.rgb_range": "x"}, "model.generator.rgb_range: a number is needed"),
        (PADDLE, {"model.pixel_criterion.loss_weight": "x"}, "loss_weight: a number is needed"),
        (PADDLE, {"model.name": "DRN", "model.pixel_criterion": 5}, "plain L1 means"),
        (
            PADDLE,
            {"model.name": "BaseSRModel", "model.generator": {"scale": 4}, **files.STD_255},
            "'model.generator' lacks the key 'name'",
        ),
        (PADDLE, {"optimizer": 5}, "'optimizer' is 5"),
        (PADDLE, {"optimizer": {"optimG": 5}}, "'optimizer.optimG'"),
    ],
)
def test_a_wrong_file_is_answered_clearly(convert, options, values, message):
    with pytest.raises(ConfigError, match=r"options\.yml") as error:
        convert(options, values)
    assert message in str(error.value)


def test_a_wrong_value_names_the_line_of_the_option_file(convert):
    text = yaml.safe_dump(files.changed(DRCT, {"network_g.embed_dim": "wide"}))
    line = 1 + text[: text.index("embed_dim")].count("\n")
    with pytest.raises(ConfigError, match=f"options.yml:{line}: "):
        convert(text)


SWINIR = {"name": "SwinIR", "upscale": 4, "window_size": 8, "upsampler": "pixelshuffle"}
CLIPPED = {
    "optimizer.weight_decay": {"name": "L2", "value": 1e-4},
    "optimizer.grad_clip": {"name": "ClipGradByGlobalNorm", "value": 0.4},
}


def test_networks_of_paddlegan_become_ours_and_charbonnier_is_a_sum(convert):
    theirs = {"name": "SwinIRModel", "generator": SWINIR}
    theirs["char_criterion"] = {"name": "CharbonnierLoss", "eps": 1e-9}
    model = convert(PADDLE, {"model": theirs, **files.STD_255}).config["model"]
    assert model["name"] == "SRModel"
    assert model["generator"] == SWINIR
    assert model["pixel_criterion"] == {"name": "CharbonnierLoss", "eps": 1e-9, "reduction": "sum"}


def test_ppsr_train_reads_what_is_converted(convert, tmp_path):
    theirs = {"name": "SwinIRModel", "generator": SWINIR, "char_criterion": {"name": "CharbonnierLoss"}}
    options = files.changed(PADDLE, {"model": theirs, **files.STD_255, **CLIPPED})
    plain = convert(options).config
    train = options["dataset"]["train"]
    inner = {key: train.pop(key) for key in ("name", "gt_folder", "preprocess", "scale")}
    train |= {"name": "RepeatDataset", "times": 2, "dataset": inner}
    converted = convert(options)
    assert any("without RepeatDataset" in line for line in converted.added)
    config = load_config(tmp_path / "options.yml")
    check_config(config)
    assert config == converted.config == plain
    assert config["step"] == {"clip_norm": 0.4}
    assert config["optimizer"]["weight_decay"] == 1e-4


def test_an_optimizer_without_value_is_left_to_the_training(convert):
    assert convert(PADDLE, {"optimizer": {"optimG": None}}).config["optimizer"] == {"optimG": None}


def test_pairs_for_fine_tuning_keep_their_list(convert):
    """Real-ESRGAN's finetune_realesrgan_x4plus_pairdata."""
    train = {"type": "RealESRGANPairedDataset", "dataroot_lq": "lq", "meta_info": "pairs.txt"}
    values = {f"{TRAIN}.{key}": value for key, value in train.items()} | {f"{TRAIN}.gt_size": 128}
    ldl = {"type": "L1Loss", "loss_weight": 0.5, "reduction": "mean"}
    options = files.real_train("HAT", gan=True)
    conversion = convert(options, {**values, "high_order_degradation": False, "train.ldl_opt": ldl})
    section = conversion.config["dataset"]["train"]
    assert section["name"] == "SRDataset"
    assert (section["lq_folder"], section["meta_info"], section["gt_size"]) == ("lq", "pairs.txt", 128)
    assert any("sharpens" in note for note in conversion.added)
    assert conversion.config["model"]["artifact_criterion"] == {"name": "ArtifactLoss", "loss_weight": 0.5}
    assert not [note.key for note in conversion.lost if note.key.startswith(("high_order", "train.ldl"))]
