"""What becomes of keys that have no counterpart, and of wrong files."""

from __future__ import annotations

import copy

import pytest
import yaml

from ppsr.compat.options import convert_options, notes_of, to_text
from ppsr.config.yaml_tree import parse_yaml
from ppsr.errors import ConfigError
from tests.compat.options import files, paddle_files


@pytest.fixture
def convert(tmp_path):
    """Convert a text; the name decides nothing."""

    def run(text, name="options.yml", **options):
        path = tmp_path / name
        path.write_text(text)
        return convert_options(path, **options)

    return run


DRCT = files.transformer_train("DRCT", 4, "scratch")
REFLASH = files.reflash_train("MSRResNet_details")
DASR = files.dasr_train(cddnet=False)
PADDLE = paddle_files.config("DRN", paddle_files.drn_generator(), total=20, size=360, batch=2, depth=True)


def _lost(conversion):
    return {note.key: note for note in conversion.lost}


def _leaves(node, path=()):
    if isinstance(node, dict):
        for key, child in node.items():
            yield from _leaves(child, (*path, key))
    elif isinstance(node, list) and isinstance(node[0], dict):
        for index, child in enumerate(node):
            yield from _leaves(child, (*path, index))
    else:
        yield path


@pytest.mark.parametrize(
    ("text", "old", "new", "key"),
    [
        (DRCT, "  mlp_ratio: 2", "  mlp_ratio: 2\n  shiny_new: 3", "network_g.shiny_new"),
        (DRCT, "scale: 4", "scale: 4\nhalf_precision: true", "half_precision"),
        (
            DRCT,
            "    dataset_enlarge_ratio: 1",
            "    dataset_enlarge_ratio: 20",
            "datasets.train.dataset_enlarge_ratio",
        ),
        (DRCT, "    gt_size: 256", "    gt_size: 256\n    mean: [0.4, 0.4, 0.4]", "datasets.train.mean"),
        (DRCT, "    weight_decay: 0", "    weight_decay: 0\n    amsgrad: true", "train.optim_g.amsgrad"),
        (DRCT, "    gamma: 0.5", "    gamma: 0.5\n    restarts: [0, 100]", "train.scheduler.restarts"),
        (DRCT, "    project: ~", "    project: mine", "logger.wandb.project"),
    ],
)
def test_a_key_without_a_counterpart_is_listed(convert, text, old, new, key, tmp_path):
    assert text.count(old) >= 1
    conversion = convert(text.replace(old, new, 1))
    assert set(_lost(conversion)) == {key}
    written = to_text(conversion, tmp_path / "out.yaml")
    head = "".join(line for line in written.splitlines(keepends=True) if line.startswith("#"))
    assert "lost" in head and key in head
    assert any(key in line for line in notes_of(conversion))


@pytest.mark.parametrize(
    "text",
    [DRCT, REFLASH, files.real_train("HAT", gan=True), files.dasr_train(cddnet=True), PADDLE],
    ids=["drct", "reflash", "real-hat-gan", "cddnet", "paddledepth"],
)
def test_no_key_of_a_file_can_change_unnoticed(convert, text):
    """Another value changes the config or the notes, or is refused."""
    values, _ = parse_yaml(text, "options")
    before = convert(text)
    noted = {tuple(note.key.split(".")) for note in (*before.lost, *before.explained)}
    leaves = list(_leaves(values))
    assert len(leaves) > 50
    for path in leaves:
        if any(tuple(map(str, path[:end])) in noted for end in range(1, len(path) + 1)):
            continue
        try:
            after = convert(yaml.safe_dump(_with_another(values, path)))
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
        new = old + 1
    else:
        new = f"{old}x"
    node[path[-1]] = new
    return changed


def test_another_rate_of_the_discriminator_is_said(convert):
    text = files.real_train("DRCT", gan=True)
    assert text.count("lr: !!float 1e-4") == 2
    first, second, third = text.partition("optim_d")
    conversion = convert(first + second + third.replace("1e-4", "4e-4", 1))
    assert "one schedule" in _lost(conversion)["train.optim_d.lr"].reason


def test_changed_ranges_of_a_level_are_kept(convert):
    levels = files.LEVELS.replace("jpeg_range_weak1: [90, 95]", "jpeg_range_weak1: [60, 80]")
    conversion = convert(files.dasr_train(cddnet=True, levels=levels))
    assert conversion.config["dataset"]["train"]["degradation"] == {
        "weak": {"stages": [{"jpeg_range": [60, 80]}]}
    }


def test_changed_ranges_of_the_second_order_are_kept(convert):
    text = REFLASH.replace("jpeg_range2: [30, 95]", "jpeg_range2: [50, 60]")
    steps = convert(text).config["dataset"]["train"]["degradation"]["operations"]
    assert steps[-1]["groups"][1] == [{"name": "jpeg", "jpeg_range": [50, 60]}]


@pytest.mark.parametrize(
    ("kind", "dropout"),
    [
        ("MSRResNet_details", None),
        ("MSRResNet_dropoutlast_element07", {"type": "element", "p": 0.7, "positions": ["last"]}),
        (
            "MSRResNet_details_dropb8last_channel03",
            {"type": "channel", "p": 0.3, "positions": ["b8", "last"]},
        ),
        ("MSRResNet_details_dropfirst_channel01", {"type": "channel", "p": 0.1, "positions": ["first"]}),
    ],
)
def test_dropout_is_read_from_the_class_name(convert, kind, dropout):
    generator = convert(files.reflash_train(kind)).config["model"]["generator"]
    assert generator["name"] == "MSRResNet"
    assert generator.get("dropout") == dropout


def test_alignment_acts_only_by_the_name_of_the_experiment(convert):
    plain = convert(files.reflash_train("MSRResNet_detailss", weight="1e3"))
    assert plain.config["model"]["name"] == "SRModel"
    assert "weight" in {note.key for note in plain.explained}


def test_one_of_several_test_sets_is_chosen_by_name(convert):
    sets = {"Set5": ("a", "b"), "Set14": ("c", "d"), "B100": ("e", "f")}
    text = files.reflash_test("MSRResNet_details", "w.pth", sets)
    by_default, chosen = convert(text), convert(text, test_set="B100")
    assert by_default.config["dataset"]["test"]["gt_folder"] == "a"
    assert chosen.config["dataset"]["test"]["gt_folder"] == "e"
    assert any("dataset.test.gt_folder=c" in line for line in notes_of(chosen))
    with pytest.raises(ConfigError, match="no test set 'Set6'; did you mean 'Set5'"):
        convert(text, test_set="Set6")


def test_stores_bring_their_own_lists(convert):
    text = DRCT.replace("      type: disk", "      type: lmdb").replace(
        "HR\n", "HR.lmdb\n    meta_info_file: x.txt\n"
    )
    conversion = convert(text)
    assert conversion.config["dataset"]["train"]["gt_folder"].endswith(".lmdb")
    assert "meta_info" not in conversion.config["dataset"]["train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            DRCT.replace("model_type: DRCTModel", "model_type: EDVRModel"),
            r":2: the model_type 'EDVRModel' has no",
        ),
        (DRCT.replace("type: DRCT\n", "type: EDSR\n"), "the network 'EDSR' has no counterpart"),
        (
            DRCT.replace("type: L1Loss", "type: WeightedTVLoss"),
            "the loss 'WeightedTVLoss' has no counterpart",
        ),
        (DRCT.replace("type: MultiStepLR", "type: LinearLR"), "the schedule 'LinearLR' has no counterpart"),
        (DRCT.replace("embed_dim: 180", "embed_dim: wide"), "'model.generator.embed_dim' is 'wide'"),
        (DRCT.replace("upscale: 4", "upscale: 3"), "network_g enlarges 3 times, and scale is 4"),
        (DRCT.replace("!!float 5e3", "often"), "'val.val_freq' is 'often': a number is needed"),
        (DRCT.replace("gt_size: 256", "gt_size: 25.6"), "'datasets.train.gt_size' is 25.6: a whole number"),
        (DRCT.replace("manual_seed: 0", "manual_seed: true"), "'manual_seed' is True: a number is needed"),
        (DRCT.replace("scale: 4\n", "", 1), "the key 'scale' is missing"),
        (DRCT.replace("  metrics:", "  met.rics:"), "holds a dot"),
        (REFLASH.replace("jpeg_range2: [30, 95]\n", ""), "the key 'jpeg_range2' is missing"),
        (REFLASH.replace("gt_usm: True\n", ""), "the key 'gt_usm' is missing"),
        (DASR.replace("degree_prob: [0.3", "degree_prob: [x"), "'degree_prob' is ['x', 0.3, 0.4]: a number"),
        (DASR.replace("degree_prob: [0.3, ", "degree_prob: ["), "degree_prob has 2 values, degree_list 3"),
        (DASR.replace("gray_noise_prob_weak1: 0.4", "gray_noise_prob_weak1: [1]"), "a number is needed"),
        ("model_type: [SRModel]\nnetwork_g: {type: DRCT}\n", "'model_type' is ['SRModel']: text is needed"),
        ("just a text", "holds no keys"),
        ("", "holds no keys"),
        ("a: 1\na: 2\n", "the key 'a' is given twice"),
        ("a: [1\n", "not valid YAML"),
        ("x: 1\ny: 2\n", "lacks model_type and network_g or dataset and model; it has x, y"),
        ("base: drct_x4.yaml\n", "looks like a configuration of this project"),
        ("model_type: SRModel\nnetwork_g: 3\nscale: 4\n", "mapping of keys is needed"),
    ],
)
def test_a_wrong_file_is_answered_clearly(convert, text, message):
    with pytest.raises(ConfigError, match=r"options\.yml") as error:
        convert(text)
    assert message in str(error.value)


def test_a_wrong_value_names_the_line_of_the_option_file(convert):
    text = DRCT.replace("embed_dim: 180", "embed_dim: wide")
    line = 1 + text[: text.index("embed_dim")].count("\n")
    with pytest.raises(ConfigError, match=f"options.yml:{line}: "):
        convert(text)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python main.py --scale 4 --modle DRN-S", "no option '--modle'; did you mean '--model'"),
        ("python main.py --scale 4", "the key 'model' is missing"),
        ("python main.py --model DRN-S --scale 3", "--scale is 3; DRN enlarges 2, 4 or 8 times"),
        ("python main.py --model DRN-S --scale four", "--scale is 'four': a whole number is needed"),
        ("python main.py --model", "'--model' needs a value"),
        ("python main.py --model DRN-S --loss 1*MSE", "only 1*L1 has a counterpart"),
        ("python main.py --model DRN-S --data_dir $DATA", "a variable of the shell"),
        ("python main.py --model DRN-S --batch_size 9 --n_GPUs 2", "cannot be shared"),
        ("python main.py --model DRN-S\npython main.py --model DRN-L", "calls main.py 2 times"),
        ("python main.py --model 'DRN-S", "no closing quotation"),
    ],
)
def test_a_wrong_command_line_is_answered_clearly(convert, command, message):
    with pytest.raises(ConfigError, match=r"train\.sh") as error:
        convert(command, "train.sh")
    assert message in str(error.value)


def test_sizes_that_drns_names_set_are_noted(convert):
    conversion = convert("python main.py --model DRN-L --scale 8 --n_feats 99\n", "train.sh")
    assert conversion.config["model"]["generator"]["n_feats"] == 10
    assert "n_feats" in {note.key for note in conversion.explained}


def test_drn_scores_other_sets_on_rgb_without_a_wider_border(convert):
    conversion = convert("python main.py --model DRN-S --test_only --data_test DF2K\n", "test.sh")
    assert conversion.config["validate"]["metrics"]["psnr"] == {
        "name": "PSNR",
        "crop_border": 10,
        "test_y_channel": False,
    }


RCAN = {"name": "RCAN", "scale": 4, "n_resgroups": 1, "n_resblocks": 1}


def _paddle(model="RCANModel", generator=RCAN, **options):
    return paddle_files.config(model, generator, **{"total": 20, "size": 48, "batch": 2, **options})


def test_clipping_and_decay_of_paddlegan_become_ours(convert):
    extra = "  weight_decay:\n    name: L2\n    value: 0.0001\n"
    extra += "  grad_clip:\n    name: ClipGradByGlobalNorm\n    value: 0.4\n"
    conversion = convert(_paddle(optimizer_extra=extra))
    assert conversion.config["step"] == {"clip_norm": 0.4}
    assert conversion.config["optimizer"]["weight_decay"] == 1e-4
    assert not conversion.lost


def test_half_of_a_turn_is_lost(convert):
    conversion = convert(_paddle(flips=paddle_files.FLIPS[:2]))
    assert "use_rot" not in conversion.config["dataset"]["train"]
    assert any("come together here" in note.reason for note in conversion.lost)


def test_steps_that_our_data_sets_lack_are_lost(convert):
    text = _paddle().replace("- name: PairedRandomHorizontalFlip", "- name: SRNoise\n            size: 32")
    conversion = convert(text)
    assert any("SRNoise" in note.reason for note in conversion.lost)


def test_paddlegans_charbonnier_loss_is_a_sum(convert):
    criterion = "  char_criterion:\n    name: CharbonnierLoss\n    eps: 1e-9\n"
    swinir = {"name": "SwinIR", "upscale": 4, "window_size": 8, "upsampler": "pixelshuffle"}
    conversion = convert(_paddle("SwinIRModel", swinir, criterion=criterion, std=255.0))
    assert conversion.config["model"]["pixel_criterion"] == {
        "name": "CharbonnierLoss",
        "eps": 1e-9,
        "reduction": "sum",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_paddle(std=255.0), "the network expects images in 0..255"),
        (_paddle("PMBAModel"), "the model 'PMBAModel' has no counterpart; these have: BaseSRModel, DRN"),
        (
            _paddle(generator={"name": "LESRCNNGenerator"}),
            "the generator 'LESRCNNGenerator' has no counterpart",
        ),
        (_paddle().replace("name: SRDataset", "name: HDF5Dataset"), "the data set 'HDF5Dataset' has no"),
        (_paddle().replace("name: Adam", "name: Lamb"), "the optimizer 'Lamb' has no counterpart"),
        (
            _paddle(optimizer_extra="  weight_decay:\n    name: L1\n    value: 1\n"),
            "regularisation 'L1' has no",
        ),
    ],
)
def test_a_wrong_paddlegan_file_is_answered_clearly(convert, text, message):
    with pytest.raises(ConfigError, match=r"options\.yml") as error:
        convert(text)
    assert message in str(error.value)


def test_mambair_is_converted_with_its_network_and_a_list_of_one_folder(convert):
    sizes = {"type": "MambaIR", "upscale": 2, "d_state": 10, "depths": [6, 6, 6, 6], "embed_dim": 60}
    given = yaml.safe_load(files.transformer_train("SwinIR", 2, "scratch"))
    given["model_type"] = "MambaIRModel"
    given["network_g"] = {**sizes, "mlp_ratio": 1.2, "upsampler": "pixelshuffledirect"}
    train = given["datasets"]["train"]
    train["dataroot_gt"], train["dataroot_lq"] = ["DF2K/HR"], ["DF2K/X2"]
    config = convert(yaml.safe_dump(given)).config
    assert config["model"]["name"] == "SRModel"
    generator = config["model"]["generator"]
    assert generator["name"] == sizes.pop("type")
    assert {key: generator[key] for key in sizes} == sizes
    ours = config["dataset"]["train"]
    assert (ours["gt_folder"], ours["lq_folder"]) == ("DF2K/HR", "DF2K/X2")


def test_several_folders_are_refused_with_their_place(convert):
    given = yaml.safe_load(DRCT)
    given["datasets"]["train"]["dataroot_gt"] = ["DIV2K/HR", "Flickr2K/HR"]
    with pytest.raises(ConfigError, match=r"datasets\.train\.dataroot_gt.*text is needed"):
        convert(yaml.safe_dump(given))


@pytest.mark.parametrize(("split", "ours"), [("train", "train"), ("val_1", "test")])
def test_templates_of_file_names_are_kept(convert, split, ours):
    given = yaml.safe_load(DRCT)
    given["datasets"][split]["filename_tmpl"] = "{}x4"
    assert convert(yaml.safe_dump(given)).config["dataset"][ours]["filename_tmpl"] == "{}x4"
