"""Validation sets: checked at the start, named by path, cut into tiles, shared by ranks."""

import json
import signal
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from ppsr.cli.train import main
from ppsr.engine.distributed import Group
from ppsr.engine.evaluator import sample_label, validate
from ppsr.errors import ConfigError, DataError
from ppsr.generators.msrresnet import MSRResNet
from ppsr.imaging.io import write_image
from ppsr.metrics.psnr_ssim import PSNR
from ppsr.registry import build_generator
from tests.engine.helpers import Rank, make_trainer, write_config

SHORT = ["total_iters=2", "dataset.train.queue_size=0", "validate.interval=1"]
PSNR_METRIC = "validate.metrics={psnr: {name: PSNR}}"


def _pairs(folder, names, scale=2, side=24):
    rng = np.random.default_rng(len(names))
    for name in names:
        gt = rng.integers(0, 256, (side, side + 4, 3), dtype=np.uint8)
        write_image(folder / "gt" / f"{name}.png", gt)
        write_image(folder / "lq" / f"{name}.png", gt[::scale, ::scale])
    return {"name": "SRDataset", "scale": 2, "gt_folder": str(folder / "gt"), "lq_folder": str(folder / "lq")}


def _trainer(folder, section, *options):
    test = f"dataset.test={json.dumps(section)}"
    return make_trainer(write_config(folder), folder / "run", [*SHORT, test, PSNR_METRIC, *options])


@pytest.mark.parametrize("fault", ["no folder", "no partner"])
def test_a_wrong_validation_set_is_found_before_the_first_step_and_named(tmp_path, fault):
    section = _pairs(tmp_path, ["a"])
    if fault == "no folder":
        section["gt_folder"] = str(tmp_path / "nowhere")
    else:
        (tmp_path / "lq" / "a.png").rename(tmp_path / "lq" / "other.png")
    with pytest.raises(DataError, match=r"^dataset\.test: ") as caught:
        _trainer(tmp_path, section)
    assert "dataset.train" not in str(caught.value)


def test_validation_images_of_another_scale_are_found_before_the_first_step(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.test: a: LR is 7 x 6, HR is 28 x 24, .* x2; these .* x4;"):
        _trainer(tmp_path, _pairs(tmp_path, ["a"], scale=4))


def test_one_faulty_image_does_not_keep_a_run_from_starting(tmp_path, caplog):
    section = _pairs(tmp_path, ["a", "b"])
    (tmp_path / "lq" / "a.png").write_bytes(b"no image")
    assert _trainer(tmp_path, section).train() == 0
    assert "a.png" in caplog.text


def test_a_mean_of_fewer_images_is_not_the_best(tmp_path, caplog):
    trainer = _trainer(tmp_path, _pairs(tmp_path, ["a", "b"]))
    first = trainer.validate()
    assert first
    scores = trainer.validator.score(trainer.state.model.inference_net(), Group(), save_folder=tmp_path)
    hard = min(scores[""].rows, key=lambda name: scores[""].rows[name]["psnr"])
    (tmp_path / "lq" / f"{hard}.png").write_bytes(b"no image")
    best = trainer.state.best
    assert trainer.validate()["psnr"] > first["psnr"]
    assert trainer.state.best == best
    assert "1 images are not scored that were before" in caplog.text


def test_results_do_not_become_training_images(tmp_path):
    write_config(tmp_path)
    options = [*SHORT, "log_config.visual_interval=1", f"dataset.train.gt_folder={tmp_path}"]
    with pytest.raises(
        ConfigError, match=r"would lie in dataset\.train\.gt_folder .*; choose another output_dir"
    ):
        make_trainer(tmp_path / "tiny.yaml", tmp_path / "run", options)


def test_a_metric_without_the_truth_that_it_needs_is_refused_or_named(tmp_path, caplog):
    _pairs(tmp_path, ["a"])
    section = {"name": "SingleImageDataset", "lq_folder": str(tmp_path / "lq")}
    with pytest.raises(ConfigError, match=r"no ground truth, which validate\.metrics\.psnr needs"):
        _trainer(tmp_path, section)
    _trainer(tmp_path, section, "validate.save_img=true")
    assert "validate.metrics.psnr needs: not computed: psnr" in caplog.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["dataset.test=null"], "validate.interval is 1, but there is no dataset.test"),
        (["validate.metrics={}"], "validation gives nothing"),
        (["step.channels_last=true"], "channels_last has an effect on a GPU"),
        (["validate.interval=-1"], "dataset.test is not scored: validate.interval is -1"),
        (
            ["lr_scheduler={name: CosineAnnealingRestartLR, learning_rate: 1, periods: [1]}"],
            "lr_scheduler: the rate of 'optim' stays at 0 from step 1 of 2 on",
        ),
    ],
)
def test_what_a_configuration_asks_for_in_vain_is_named(tmp_path, caplog, options, text):
    with caplog.at_level("INFO", "ppsr"):
        _trainer(tmp_path, _pairs(tmp_path, ["a"]), "validate.interval=1", *options)
    assert text in caplog.text


def test_several_validation_sets_are_scored_under_their_names(tmp_path, caplog):
    sets = {name: _pairs(tmp_path / name, names) for name, names in (("few", ["a"]), ("more", ["a", "b"]))}
    removed = ["dataset.test.other=null", "validate.metrics.ssim=null", "load.generator=null"]
    trainer = _trainer(tmp_path, sets, "validate.save_img=true", *removed)
    with caplog.at_level("INFO", "ppsr"):
        assert trainer.train() == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()]
    scores = [line for line in lines if line["split"] == "validate"]
    assert [set(line) - {"step", "split"} for line in scores] == [{"few/psnr", "more/psnr"}] * 2
    assert trainer.state.best == max(line["few/psnr"] for line in scores)
    images = tmp_path / "run" / "visual_test"
    assert sorted(images.rglob("*.png")) == [images / f"{name}.png" for name in ("few/a", "more/a", "more/b")]
    assert f"best few/psnr: {trainer.state.best:.4f} at step" in caplog.text
    assert "averaged networks: generator" in caplog.text


def test_an_unknown_option_of_one_of_several_sets_is_named(tmp_path):
    section = {"few": {**_pairs(tmp_path, ["a"]), "scal": 2}}
    with pytest.raises(ConfigError, match=r"'dataset\.test\.few\.scal'; did you mean 'scale'"):
        _trainer(tmp_path, section)


@pytest.mark.parametrize("name", ["../few", "..", "/few", "a/few"])
def test_the_name_of_a_validation_set_leads_to_no_other_folder(tmp_path, name):
    with pytest.raises(ConfigError, match=f"dataset.test: '{name}' names a folder of images"):
        _trainer(tmp_path, {name: _pairs(tmp_path, ["a"])})


def test_the_command_scores_several_sets_into_one_report(tmp_path):
    sets = {name: _pairs(tmp_path / name, ["a"]) for name in ("first", "second")}
    config = yaml.safe_load(write_config(tmp_path).read_text())
    config["dataset"]["test"] = sets
    config["validate"] = {"metrics": {"psnr": {"name": "PSNR"}}, "tile": 8}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert main(["-c", str(tmp_path / "tiny.yaml"), "--evaluate-only", "--device", "cpu"]) == 0
    (report,) = (tmp_path / "output").glob("*/metrics.json")
    report = json.loads(report.read_text())
    assert {name: entry["count"] for name, entry in report["sets"].items()} == {"first": 1, "second": 1}
    assert report["tile"] == 8


def test_equal_names_in_sub_folders_stay_apart_in_scores_and_images(tmp_path):
    names = ["clip1/000", "clip2/000", "clip3/000"]
    _pairs(tmp_path, names)
    section = {"name": "GTDataset", "scale": 2, "degradation": "matlab_bicubic"}
    section["gt_folder"] = str(tmp_path / "gt")
    trainer = _trainer(tmp_path, section, "validate.save_img=true")
    scores = trainer.validator.score(
        trainer.state.model.inference_net(), Group(), save_folder=tmp_path / "images"
    )
    assert list(scores[""].rows) == names
    assert sorted((tmp_path / "images").rglob("*.png")) == [tmp_path / "images" / f"{n}.png" for n in names]


def test_a_sample_is_named_by_its_path_below_the_folder(tmp_path):
    for name in ("a.png", "a.jpg", "deep/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    label = lambda name, *folders: sample_label({"lq_path": str(tmp_path / name)}, folders)  # noqa: E731
    assert label("deep/b.png", tmp_path) == "deep/b"
    assert label("deep/b.png") == "b"
    assert label("a.png", tmp_path) == "a.png"  # a.jpg is beside it
    assert label("deep/b.png", tmp_path / "deep", tmp_path / "other") == "deep/b"
    assert sample_label({}) == ""


class _Folders:
    """Five samples whose base names repeat."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        gt = rng.random((3, 8, 8), np.float32)
        return {"lq": gt[:, ::2, ::2], "gt": gt, "lq_path": f"set/{index}/same.png"}


@pytest.mark.reliability
@pytest.mark.parametrize("world", [2, 4])
def test_the_mean_does_not_depend_on_the_number_of_ranks(world, bar):
    nets = [MSRResNet(num_feat=4, num_block=1, upscale=2) for _ in range(world)]
    for net in nets:
        net.set_state_dict(nets[0].state_dict())
    one = validate(nets[0], _Folders(), {"psnr": PSNR()}, Group(), folders=[Path("set")])
    barrier, values, scores = threading.Barrier(world), {}, {}
    lock = threading.Lock()  # networks of several threads take turns

    class Turns(_Folders):
        def __getitem__(self, index):
            with lock:
                return super().__getitem__(index)

    def work(rank):
        group = Rank(rank, world, barrier, values)
        scores[rank] = validate(nets[rank], Turns(), {"psnr": PSNR()}, group, folders=[Path("set")])

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(one.rows) == {f"{index}/same" for index in range(5)}
    assert [scores[rank].rows for rank in range(world)] == [one.rows] * world
    difference = abs(scores[0].means["psnr"] - one.means["psnr"])
    required = "each image once, its mean within 1e-9 dB of one process"
    bar.report(f"D2 validation by {world} ranks", required, f"{difference:.0e} dB")
    assert difference < 1e-9


class _Large:
    """One small sample and one that no memory holds."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        side = (12, 40)[index]
        lq = np.random.default_rng(index).random((3, side, side), np.float32)
        return {"lq": lq, "lq_path": f"{index}.png"}


def test_an_image_that_does_not_fit_into_memory_is_named_and_left_out(tmp_path, caplog):
    net = MSRResNet(num_feat=4, num_block=1, upscale=2)
    forward = net.forward

    def limited(x):
        if x.shape[2] > 32:
            raise MemoryError("(ResourceExhausted) Fail to alloc memory of 123 size, error code is 12.")
        return forward(x)

    net.forward = limited
    score = validate(net, _Large(), {}, Group(), save_folder=tmp_path)
    assert list(score.rows) == ["0"]
    assert [(p.kind, p.reason) for p in score.problems] == [
        ("out of memory", "1: 40 x 40 pixels do not fit into memory; set validate.tile=256")
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.png"]
    tiled = validate(net, _Large(), {}, Group(), tile=8)  # and 12 pixels of the receptive radius around
    assert list(tiled.rows) == ["0", "1"]


@pytest.mark.parametrize(
    ("value", "reason"), [("no number", "ValueError: could not"), ([], "TypeError: float")]
)
def test_a_mistake_in_a_metric_is_named_and_ends_no_run(value, reason):
    net = MSRResNet(num_feat=4, num_block=1, upscale=2)
    score = validate(
        net, _Folders(), {"psnr": PSNR(), "own": lambda sr, gt: value}, Group(), folders=[Path("set")]
    )
    assert score.exit_code == 3
    assert [p.kind for p in score.problems] == ["metric failed"] * 5
    assert f"own: {reason}" in score.problems[0].reason


def _blind():
    return build_generator(
        "BlindSR",
        generator={"name": "CDDNet", "num_feat": 4, "num_block": 1, "num_models": 2, "upscale": 2},
        predictor={"name": "DegradationPredictor", "nf": 4, "num_params": 33, "num_networks": 2},
    )


@pytest.mark.parametrize("build", [partial(MSRResNet, num_feat=4, num_block=1, upscale=2), _blind])
def test_tiles_equal_the_whole_image_where_they_see_what_it_sees(build):
    net = build()
    seen = {}
    metrics = {"mean": _Keep(seen)}
    validate(net, _Large(), metrics, Group())
    whole = dict(seen)
    validate(net, _Large(), metrics, Group(), tile=16)
    assert seen.keys() == whole.keys()
    for shape, image in whole.items():
        np.testing.assert_allclose(seen[shape].astype(int), image.astype(int), atol=1)  # one step of rounding


class _Keep:
    no_reference = True

    def __init__(self, seen):
        self.seen = seen

    def __call__(self, sr, gt=None):
        self.seen[sr.shape] = sr
        return 0.0


def test_a_signal_interrupts_a_validation_at_once_and_the_run_goes_on_from_there(tmp_path):
    trainer = _trainer(tmp_path, _pairs(tmp_path, ["a", "b", "c"]), "total_iters=2")
    net, calls = trainer.state.model.ema["generator"], []
    forward = net.forward

    def signalled(*given):
        calls.append(None)
        signal.raise_signal(signal.SIGHUP)
        return forward(*given)

    net.forward = signalled
    assert trainer.train() == 128 + signal.SIGHUP
    assert len(calls) == 1
    assert trainer.state.step == 1
    assert trainer.saver.written == 1
    assert trainer.validated_step is None


@pytest.mark.parametrize(
    ("option", "anew"),
    [("validate.metrics={ssim: {name: SSIM}}", True), ("dataset.test.seed=1", True), ("seed=3", False)],
)
def test_values_of_another_metric_or_set_do_not_choose_the_best_step(tmp_path, option, anew):
    section = {"name": "GTDataset", "gt_folder": str(tmp_path / "hr"), "scale": 2, "degradation": "bicubic"}
    first = _trainer(tmp_path, section)
    assert first.train() == 0
    resumed = _trainer(tmp_path, section, option)
    assert resumed.resume()
    assert resumed.state.best == (None if anew else first.state.best)
    assert resumed.state.best_step == (None if anew else first.state.best_step)
