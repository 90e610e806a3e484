"""Checking a configuration: one clear message with the place and the nearest valid name."""

import numpy as np
import pytest

from ppsr.cli.train import main
from ppsr.config import check_config, load_config
from ppsr.errors import ConfigError
from ppsr.imaging import write_image
from ppsr.registry import DISCRIMINATORS, GENERATORS
from tests.engine.helpers import write_config


@pytest.fixture
def path(tmp_path):
    return write_config(tmp_path)


def _line(path, text):
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_a_right_config_passes_with_defaults(path):
    experiment = check_config(load_config(path))
    assert experiment.total_iters == 20
    assert experiment.step.accumulate == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("totl_iters=3", "did you mean 'total_iters'"),
        ("log_config.intervall=3", "did you mean 'interval'"),
        ("model.generator.num_feats=3", "no option 'model.generator.num_feats'; did you mean 'num_feat'"),
        ("model.generator.name=CDNet", "unknown generator 'CDNet'; did you mean 'CDDNet'"),
        ("model.pixel_criterion.name=L1Los", "did you mean 'L1Loss'"),
        ("model.generator.num_feat=wide", "'model.generator.num_feat' is 'wide'"),
        ("total_iters=1.5", "'total_iters' is 1.5"),
        ("total_iters=null", "tiny.yaml: give total_iters or epochs"),
        ("dataset.train.name=DASRDataste", "did you mean 'DASRDataset'"),
        ("dataset.train.batch_sise=2", "did you mean 'batch_size'"),
        ("dataset.train.hr_folder=x", "did you mean 'gt_folder'"),
        ("dataset.train.patch_size=48", "did you mean 'gt_size'"),
        ("optimizer.beta3=0.9", "no option 'optimizer.beta3'"),
        ("modell.name=x", "unknown key 'modell'; did you mean 'model'"),
        ("dataset.train.batch_size=0", "'dataset.train.batch_size' is 0"),
        ("dataset.train.batch_size=two", "'dataset.train.batch_size' is 'two'"),
        ("dataset.train.num_workers=-1", "'dataset.train.num_workers' is -1"),
        ("seed=-1", "'seed' is -1"),
        ("seed=9223372036854775808", "'seed' is 9223372036854775808"),
        ("validate.metrics.psnr={name: PSNR, crop_border: -1}", "'validate.metrics.psnr.crop_border' is -1"),
        ("seed=true", "'seed' is True: input should be a number"),
        ("precision.level=o1", "input should be 'O1' or 'O2'"),
        ("validate=2", "'validate' is 2: input should be a valid dictionary"),
        ("lr_scheduler.milestones=5", "'lr_scheduler.milestones' is 5: input should be a list"),
        ("optimizer.weight_decay=-1", "'optimizer.weight_decay' is -1"),
        ("lr_scheduler.learning_rate=true", "'lr_scheduler.learning_rate' is True: input should be a number"),
        ("load.generator={path: x, partal: true}", "did you mean 'partial'"),
        ("load=3", "'load' is 3"),
        ("optimizer.learning_rate=fast", "'optimizer.learning_rate' is 'fast'"),
        ("optimizer.learning_rates=0.1", "did you mean 'learning_rate'"),
        ("optimizer.lr_scheduler={name: ConstantLR, rate: 1}", "no option 'optimizer.lr_scheduler.rate'"),
    ],
)
def test_a_wrong_override_names_itself_and_the_nearest(path, override, message):
    with pytest.raises(ConfigError) as error:
        check_config(load_config(path, [override]))
    of_the_file = override in ("total_iters=null", "modell.name=x")
    assert str(error.value).startswith(f"{path}: " if of_the_file else f"-o {override}: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        ("total_iters: 20", "total_iter: 20", "total_iter: 20", "did you mean 'total_iters'"),
        ("num_block: 1", "num_blok: 1", "num_blok: 1", "did you mean 'num_block'"),
        ("learning_rate: 0.001", "learning_rate: fast", "learning_rate: fast", "is 'fast'"),
        ("  name: MultiStepDecay\n", "", "lr_scheduler", "lacks the key 'name'"),
        ("interval: 10", "interval: often", "interval: often", "'snapshot_config.interval' is 'often'"),
    ],
)
def test_a_wrong_file_names_its_line(path, old, new, at, message):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError) as error:
        check_config(load_config(path))
    assert message in str(error.value)
    assert f"tiny.yaml:{_line(path, at)}:" in str(error.value)


def test_a_missing_component_option_is_named(path):
    text = path.read_text().replace("  milestones:\n  - 12\n", "")
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"MultiStepDecay needs the option 'lr_scheduler.milestones'"):
        check_config(load_config(path))


def test_numbers_written_as_yaml_1_1_strings_are_numbers(path):
    path.write_text(path.read_text().replace("learning_rate: 0.001", "learning_rate: 1e-4"))
    assert load_config(path)["lr_scheduler"]["learning_rate"] == pytest.approx(1e-4)
    check_config(load_config(path))


def test_quoted_numbers_arrive_as_numbers(path):
    config = load_config(
        path, ["lr_scheduler.learning_rate='1e-3'", "model.generator.num_feat=4.0", "dataset.train.scale='2'"]
    )
    experiment = check_config(config)
    assert experiment.lr_scheduler["learning_rate"] == 1e-3
    assert (config["model"]["generator"]["num_feat"], experiment.dataset.train["scale"]) == (4, 2)
    assert isinstance(config["model"]["generator"]["num_feat"], int)


def test_a_template_needs_no_quotes(path):
    pairs = "{name: SRDataset, gt_folder: hr, lq_folder: lr, filename_tmpl: {}}"
    experiment = check_config(load_config(path, [f"dataset.train={pairs}"]))
    assert experiment.dataset.train["filename_tmpl"] == "{}"


def test_null_leaves_an_option_of_a_section_at_its_default(path):
    nulls = ["seed=null", "log_config=null", "validate.interval=null", "dataset.train.batch_size=null"]
    experiment = check_config(load_config(path, nulls))
    values = experiment.seed, experiment.log_config.interval, experiment.validate_.interval
    assert (*values, experiment.dataset.train["batch_size"]) == (0, 100, -1, 1)


_MODEL = "{name: SRModel, generator: {name: %s}, pixel_criterion: {name: L1Loss}}"
_OWN = "optimizer={name: Adam, net_names: [generator]}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.generator.upscale=4"], "dataset.train.scale is 2, but the generator enlarges 4 times"),
        (["model.predictor.num_networks=3"], "num_models is 2, model.predictor.num_networks 3"),
        (["model.net_d_iters=0"], "net_d_iters must be 1 or more"),
        (["model.gan_criterion.name=L1Loss"], "gan_criterion must be a GANLoss"),
        (["model.pixel_criterion.reduction=none"], "the loss l_pix is an array of shape"),
        ([f"model={_MODEL % 'HAT, overlap_ratio: -3'}", _OWN], "overlap_ratio must be 0 or more, got -3"),
        ([f"model={_MODEL % 'DRCT, depths: [0], num_heads: [2]'}", _OWN], "generator 'DRCT': "),
        (["dataset.train.gt_size=0"], "gt_size must be a multiple of the scale 2, got 0"),
        (["dataset.train.gt_size=-16"], "got -16"),
        (["dataset.train.scale=0"], "scale must be 1 or more"),
        (["lr_scheduler.learning_rate=inf"], "learning_rate must be positive, got inf"),
        (["lr_scheduler.learning_rate=nan"], "learning_rate must be positive, got nan"),
        (["lr_scheduler.warmup_iters=-1"], "warmup_iters must be 0 or more"),
        (["optimizer.optimG.beta1=2.0"], "'optimizer.optimG.beta1' is 2.0: input should be less than 1"),
        (["model.generator.num_feat=0"], "num_feat is 0"),
    ],
)
def test_impossible_values_end_the_command_with_a_message(tmp_path, capsys, overrides, message):
    config = write_config(tmp_path, gan=True)
    assert main(["-c", str(config), "--device", "cpu", "-o", "total_iters=1", *overrides]) == 2
    assert message in capsys.readouterr().err


def test_a_data_set_without_lr_is_named(tmp_path, capsys):
    config = write_config(tmp_path)
    dataset = f"{{name: GTDataset, gt_folder: {tmp_path / 'hr'}, scale: 2, gt_size: 8}}"
    given = [f"dataset.train={dataset}", f"model={_MODEL % 'SRVGGNetCompact, upscale: 2'}", _OWN]
    assert main(["-c", str(config), "--device", "cpu", "-o", "total_iters=1", *given]) == 2
    assert "dataset.train gives no 'lq', only gt" in capsys.readouterr().err
    pair = f"[{{name: GTDataset, gt_folder: {tmp_path / 'hr'}, gt_size: 8}}, "
    pair += f"{{name: GTDataset, gt_folder: {tmp_path / 'hr'}, gt_size: 8, degradation: matlab_bicubic}}]"
    given[0] = (
        f"dataset.train={{name: MixedDataset, scale: 2, shares: [0.5, 0.5], datasets: {pair}, batch_size: 5}}"
    )
    assert main(["-c", str(config), "--device", "cpu", "-o", "total_iters=1", *given]) == 2
    assert "different entries: gt, gt_path and gt, gt_path, lq" in capsys.readouterr().err


def test_images_of_different_sizes_in_a_batch_are_named(tmp_path, capsys):
    config = write_config(tmp_path)
    for side, name in ((20, "a"), (24, "b")):
        for folder, factor in (("big", 2), ("small", 1)):
            write_image(tmp_path / folder / f"{name}.png", np.zeros((side * factor, side * factor, 3), "f4"))
    folders = f"gt_folder: {tmp_path}/big, lq_folder: {tmp_path}/small"
    dataset = f"{{name: SRDataset, {folders}, scale: 2, batch_size: 2}}"
    generator = "{name: MSRResNet, num_feat: 4, num_block: 1, upscale: 2}"
    model = f"{{name: SRModel, generator: {generator}, pixel_criterion: {{name: L1Loss}}}}"
    overrides = [f"dataset.train={dataset}", f"model={model}", "optimizer.net_names=generator"]
    assert main(["-c", str(config), "--device", "cpu", "-o", *overrides]) == 2
    assert "set dataset.train.gt_size" in capsys.readouterr().err


@pytest.mark.parametrize("num_feat", [0, -1, True, 1.5, "wide"])
@pytest.mark.parametrize(
    ("registry", "name"), [(GENERATORS, "MSRResNet"), (DISCRIMINATORS, "UNetDiscriminatorSN")]
)
def test_a_size_out_of_range_is_one_line(registry, name, num_feat):
    with pytest.raises(ConfigError, match=rf"^{registry.kind} '{name}': [^\n]+$"):
        registry.build({"name": name, "num_in_ch": 3, "num_feat": num_feat})


def test_a_division_by_an_option_is_one_line():
    with pytest.raises(ConfigError, match=r"^generator 'SwinIR': [^\n]+$"):
        GENERATORS.build({"name": "SwinIR", **GENERATORS.get("SwinIR").test_args, "num_heads": [0]})


def test_a_name_with_a_line_break_stays_one_line():
    with pytest.raises(ConfigError, match=r"^unknown generator 'CDD\\nNet'; did you mean 'CDDNet'\?$"):
        GENERATORS.get("CDD\nNet")
