"""Evaluations of small folders of images."""

import pickle

import numpy as np
import pytest

from ppsr.degradations.reflash_benchmark import VARIANTS
from ppsr.errors import ConfigError, DataError
from ppsr.evaluation.evaluate import evaluate, network_name
from ppsr.evaluation.report import table_lines, to_csv, write_report
from ppsr.imaging.io import read_image, write_image
from ppsr.imaging.resize import matlab_resize, matlab_resize_integers
from ppsr.inference.upscaler import Upscaler
from ppsr.metrics.psnr_ssim import psnr
from ppsr.registry import METRICS
from tests.inference.helpers import small_network


@pytest.fixture
def images(rng):
    return {name: rng.integers(0, 256, (48, 56, 3), dtype=np.uint8) for name in ("a", "b", "c")}


@pytest.fixture
def folders(tmp_path, images, rng):
    for name, gt in images.items():
        write_image(tmp_path / "gt" / f"{name}.png", gt)
        sr = np.clip(gt + rng.integers(-9, 10, gt.shape), 0, 255).astype(np.uint8)
        write_image(tmp_path / "sr" / f"{name}_x4.png", sr)
    return tmp_path


def _kinds(result):
    return {(p.name, p.kind) for score in result.sets for p in score.problems}


def test_finished_images_have_the_mean_of_their_scores(folders):
    result = evaluate(gt=folders / "gt", sr=folders / "sr")
    rows = result.sets[0].rows
    assert set(rows) == {"a", "b", "c"}
    assert result.means["psnr"] == pytest.approx(np.mean([row["psnr"] for row in rows.values()]))
    assert result.exit_code == 0


def test_two_files_are_a_pair_whatever_their_names(folders):
    (folders / "sr" / "a_x4.png").rename(folders / "result.png")
    result = evaluate(gt=folders / "gt" / "a.png", sr=folders / "result.png")
    assert result.exit_code == 0 and list(result.sets[0].rows) == ["a"]
    alone = evaluate(gt=folders / "gt" / "a.png", method="bicubic")
    assert alone.exit_code == 0 and list(alone.sets[0].rows) == ["a"]


def test_a_network_and_single_names_are_taken(folders):
    net = small_network("SRVGGNetCompact", upscale=2)
    alone = evaluate(net, gt=folders / "gt", scale=2, metrics="psnr")
    assert alone.means == evaluate(Upscaler(net), gt=folders / "gt", scale=2, metrics=["psnr"]).means


def test_a_network_keeps_its_mode_and_scores_go_to_other_processes(folders):
    net = small_network("SRVGGNetCompact", upscale=2)
    net.train()
    for method in (net, "bicubic"):
        scores = evaluate(method, gt=folders / "gt", scale=2, metrics="psnr")
        assert pickle.loads(pickle.dumps(scores)).means == scores.means
    assert net.training


def test_a_function_may_give_bytes_and_no_other_range(folders):
    def repeat(image):
        return image.repeat(4, 0).repeat(4, 1)

    given = {"gt": folders / "gt", "metrics": ["psnr"]}
    as_bytes = evaluate(lambda image: np.rint(repeat(image) * 255).astype(np.uint8), **given)
    assert as_bytes.means == evaluate(repeat, **given).means
    wrong = evaluate(lambda image: repeat(image) * 255, **given)
    assert wrong.exit_code == 3 and {kind for _, kind in _kinds(wrong)} == {"wrong range"}


def test_bicubic_from_made_lr_is_scored_as_the_same_steps_by_hand(folders, images):
    result = evaluate(gt=folders / "gt", method="bicubic", scale=2)
    lq = matlab_resize_integers(images["a"], 0.5)
    sr = np.clip(np.rint(matlab_resize(lq, 2)), 0, 255).astype(np.uint8)
    expected = psnr(sr, images["a"], crop_border=2, test_y_channel=True)
    assert result.sets[0].rows["a"]["psnr"] == pytest.approx(expected, abs=1e-3)


def test_everything_without_a_score_is_named_and_the_mean_leaves_it_out(folders, rng):
    alone = evaluate(gt=folders / "gt", sr=folders / "sr").sets[0].rows["c"]["psnr"]
    (folders / "sr" / "a_x4.png").write_bytes(b"not an image")
    write_image(folders / "sr" / "b_x4.png", rng.integers(0, 256, (12, 14, 3), dtype=np.uint8))
    write_image(folders / "sr" / "other.png", rng.integers(0, 256, (48, 56, 3), dtype=np.uint8))
    write_image(folders / "gt" / "d.png", rng.integers(0, 256, (48, 56, 3), dtype=np.uint8))
    result = evaluate(gt=folders / "gt", sr=folders / "sr")
    expected = {("a", "unreadable"), ("b", "wrong size"), ("d.png", "missing"), ("other.png", "extra")}
    assert _kinds(result) == expected
    assert result.count == 1
    assert result.means["psnr"] == alone
    assert result.exit_code == 1


def test_images_that_memory_does_not_hold_are_named(folders, monkeypatch):
    def full(image):
        raise MemoryError

    monkeypatch.setattr("ppsr.evaluation.sources.to_rgb", full)
    result = evaluate(gt=folders / "gt", sr=folders / "sr")
    assert _kinds(result) == {(name, "out of memory") for name in "abc"}
    assert result.exit_code == 3


def test_nothing_scored_is_exit_code_3(folders):
    for path in (folders / "sr").iterdir():
        path.write_bytes(b"")
    assert evaluate(gt=folders / "gt", sr=folders / "sr").exit_code == 3


def test_hr_is_cut_to_what_lr_covers(tmp_path, rng):
    gt = rng.integers(0, 256, (50, 59, 3), dtype=np.uint8)
    write_image(tmp_path / "gt" / "a.png", gt)
    result = evaluate(gt=tmp_path / "gt", method="bicubic", scale=4)
    assert result.sources[0].read("a").sr.shape == (48, 56, 3)
    assert result.count == 1


class _Rank:
    """One of several ranks; the shares are handed over by a list."""

    def __init__(self, rank, world, shares):
        self.rank, self.world, self.shares = rank, world, shares
        self.rounds = 0

    def barrier(self):
        self.rounds += 1

    def gather(self, value):
        self.shares.append(value)
        return list(self.shares)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_count_every_image_once(folders, world):
    whole = evaluate(gt=folders / "gt", method="bicubic")
    shares = []
    ranks = [_Rank(rank, world, shares) for rank in range(world)]
    for rank in ranks:
        last = evaluate(gt=folders / "gt", method="bicubic", group=rank)
    # all wait equally often, or some would wait for ever
    assert {rank.rounds for rank in ranks} == {-(-3 // world)}
    assert sum(len(share.rows) for share in shares) == 3
    assert last.sets[0].rows == whole.sets[0].rows
    assert last.means == whole.means


def test_the_same_seed_makes_the_same_noise_and_another_does_not(folders):
    one, same, other = (
        evaluate(protocol="reflash", gt=folders / "gt", method="bicubic", seed=s).sets[2] for s in (0, 0, 1)
    )
    assert one.variant == "bicubic_noise20"
    assert one.rows == same.rows
    assert one.rows != other.rows


def test_reflash_reads_degradations_that_are_there_and_names_the_others(folders, images):
    for name, gt in images.items():
        write_image(folders / "lr" / "bicubic_jepg50" / f"{name}.png", gt[:12, :14])
    result = evaluate(protocol="reflash", gt=folders / "gt", lq=folders / "lr", method="bicubic")
    assert {s.variant for s in result.sets if s.rows} == {"bicubic_jepg50"}
    assert _kinds(result) == {(v, "missing") for v in VARIANTS if v != "bicubic_jepg50"}
    assert f"there is no folder {folders / 'lr' / 'bicubic'}" in result.sets[0].problems[0].reason
    assert (result.count, result.exit_code) == (3, 1)
    jpeg = folders / "lr" / "bicubic_jepg50"
    alone = evaluate("bicubic", protocol="reflash", gt=folders / "gt", lq=jpeg)
    assert [(s.variant, len(s.rows)) for s in alone.sets] == [("bicubic_jepg50", 3)]
    assert alone.exit_code == 0


@pytest.mark.parametrize("side", ["gt", "sr"])
def test_a_second_file_of_one_name_is_named(folders, images, side):
    write_image(folders / side / ("a.jpg" if side == "gt" else "a_x4.jpg"), images["a"])
    result = evaluate(gt=folders / "gt", sr=folders / "sr")
    assert _kinds(result) == {("a.png" if side == "gt" else "a_x4.png", "duplicate")}
    assert (result.count, result.exit_code) == (3, 1)


def test_a_data_folder_is_read_by_the_layout_of_the_protocol(tmp_path, images):
    for name, gt in images.items():
        write_image(tmp_path / "Set14" / "HR" / f"{name}.png", gt)
        write_image(tmp_path / "Set14" / "LR_bicubic" / "X4" / f"{name}x4.png", gt[:12, :14])
    result = evaluate(data=tmp_path, method="bicubic")
    assert [(s.name, len(s.rows)) for s in result.sets] == [("Set14", 3)]
    assert (result.sources[0].read("a").lq == images["a"][:12, :14]).all()
    assert result.absent == ["Set5", "B100", "Urban100", "Manga109"]


def test_depth_maps_are_scored_in_both_definitions(tmp_path, rng):
    depth = rng.integers(0, 4, (48, 48), dtype=np.uint8) * 60
    write_image(tmp_path / "gt" / "a.png", depth)
    options = {"pe": {"definition": "published"}}
    safe = evaluate(protocol="dsr", gt=tmp_path / "gt", method="bicubic")
    published = evaluate(protocol="dsr", gt=tmp_path / "gt", method="bicubic", metric_options=options)
    assert np.isfinite(safe.means["pe"])
    assert not np.isfinite(published.means["pe"])
    assert safe.means["rmse"] == published.means["rmse"]


def test_the_intended_lr_of_depth_differs_from_the_published_one(tmp_path, rng):
    write_image(tmp_path / "gt" / "a.png", rng.integers(1, 256, (48, 48), dtype=np.uint8))
    values = [
        evaluate(protocol="dsr", gt=tmp_path / "gt", method="bicubic", lq_script=way).means["rmse"]
        for way in ("published", "fixed")
    ]
    assert values[0] != values[1]


def test_an_image_smaller_than_the_scale_is_named_and_the_others_are_scored(folders):
    write_image(folders / "gt" / "tiny.png", np.zeros((3, 40, 3), np.uint8))
    result = evaluate(gt=folders / "gt", method="bicubic")
    assert _kinds(result) == {("tiny", "wrong size")}
    assert (result.count, result.exit_code) == (3, 1)


@pytest.mark.parametrize(
    ("size", "fits"), [((15, 20), "; these sizes fit x2"), ((15, 11), ""), ((31, 40), "; these sizes fit x1")]
)
def test_lr_of_another_scale_is_named_with_the_scale_that_fits(tmp_path, size, fits):
    write_image(tmp_path / "gt" / "a.png", np.zeros((31, 40, 3), np.uint8))
    write_image(tmp_path / "lq" / "a.png", np.zeros((*size, 3), np.uint8))

    def upscale(image):
        raise AssertionError("a network that must not run")

    [score] = evaluate(gt=tmp_path / "gt", lq=tmp_path / "lq", method=upscale, scale=4).sets
    height, width = size
    assert [problem.reason for problem in score.problems] == [
        f"LR is {width} x {height}, HR is 40 x 31, but the network is x4{fits}"
    ]


def test_a_way_of_making_lr_is_refused_where_none_is_made(tmp_path, rng):
    write_image(tmp_path / "gt" / "a.png", rng.integers(1, 256, (48, 48), dtype=np.uint8))
    write_image(tmp_path / "lq" / "a.png", rng.integers(1, 256, (12, 12), dtype=np.uint8))
    given = {"gt": tmp_path / "gt", "lq": tmp_path / "lq", "method": "bicubic"}
    assert evaluate(protocol="dsr", **given).count == 1
    with pytest.raises(ConfigError, match="has no effect"):
        evaluate(protocol="dsr", **given, lq_script="fixed")


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda image: None, "a NoneType instead of a NumPy array"),
        (lambda image: image.tolist(), "a list instead"),
        (lambda image: image.repeat(2, 0).repeat(2, 1) * 2 - 1, "values -"),
    ],
)
def test_what_a_function_gives_wrongly_is_named(folders, gives, said):
    result = evaluate(gives, gt=folders / "gt", scale=2)
    assert result.exit_code == 3 and said in result.sets[0].problems[0].reason


def test_the_folder_around_hr_and_lr_is_no_set(folders):
    (folders / "set" / "LR_bicubic").mkdir(parents=True)
    (folders / "gt").rename(folders / "set" / "HR")
    with pytest.raises(DataError, match=r"LR images beside it; give .*set/HR"):
        evaluate("bicubic", gt=folders / "set")


def test_names_of_run_folders_are_whole(tmp_path):
    (tmp_path / "lr0.01").mkdir()
    assert network_name([tmp_path / "lr0.01"]) == "lr0.01"
    (tmp_path / "net_v1.5.info.json").touch()
    assert network_name([tmp_path / "net_v1.5"]) == "net_v1.5"


@pytest.mark.parametrize("arguments", [{}, {"method": "x", "sr": "y"}])
def test_exactly_one_thing_is_scored(folders, arguments):
    with pytest.raises(ConfigError, match="exactly one"):
        evaluate(gt=folders / "gt", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "clasic"}, "did you mean 'classic'"),
        ({"scale": 5}, "scales 2, 3, 4, 8, got 5"),
        ({"metrics": ["pnsr"]}, "did you mean 'psnr'"),
        ({"metrics": ["niqee"]}, "no metric 'niqee'; did you mean 'niqe'"),
        ({"protocol": "realsr", "gt": None, "metrics": ["psnr"]}, "'psnr' compares with a ground truth"),
        ({"metrics": ["LPIPS"], "metric_options": {"lpips": {"weights": "x.pth"}}}, r"LPIPS \(alex\).*x.pth"),
        ({"lq_script": "right"}, "published or fixed"),
        ({"gt": None}, "needs HR images"),
        ({"gt": ["a.png"]}, r"gt must be one folder, pattern or file, got \['a.png'\]"),
        ({"method": 3}, "a function can be scored, not 3"),
        ({"protocol": "dasr"}, "needs LR images.*dasr-valid"),
        ({"data": "x"}, "either data or gt and lq"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"sets": ["Set5"]}, "'sets' requires 'data'"),
        ({"gt": None, "data": "x", "name": "foo"}, "name applies to a set"),
        ({"lq_script": "fixed"}, "applies to protocol .dsr. only"),
        ({"method": None, "sr": "x", "lq": "y"}, "lq has no effect"),
        ({"metric_options": {"rmse": {"definition": "safe"}}}, "'rmse' have no effect.*psnr, ssim"),
        ({"metrics": ["psnr"], "metric_options": {"ssim": {}}}, "'ssim' have no effect"),
    ],
)
def test_options_that_do_not_fit_are_refused(folders, arguments, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(**{"gt": folders / "gt", "method": "bicubic", **arguments})


def test_a_whole_scale_may_be_a_float(folders):
    assert evaluate(gt=folders / "gt", sr=folders / "sr", scale=4.0).scale == 4


def test_a_data_folder_without_sets_is_refused(tmp_path):
    with pytest.raises(DataError, match="contains none of Set5"):
        evaluate(data=tmp_path, method="bicubic")
    with pytest.raises(DataError, match=r"there is no folder .*missing"):
        evaluate(data=tmp_path / "missing", method="bicubic")


@pytest.fixture
def contrast_error():
    """A metric outside of all protocols, without options, of which lower is better."""

    @METRICS.register()
    class ContrastError:
        higher_is_better = False

        def __call__(self, sr, gt):
            return abs(float(sr.std()) - float(gt.std()))

    yield
    del METRICS._objects["ContrastError"]


def test_metrics_outside_of_the_protocol_are_scored_and_reported(folders, images, contrast_error):
    result = evaluate(gt=folders / "gt", sr=folders / "sr", metrics=["Contrast_Error", "RMSE"])
    sr, gt = np.rint(255 * read_image(folders / "sr" / "a_x4.png")), images["a"]
    row = result.sets[0].rows["a"]
    assert row["contrasterror"] == pytest.approx(abs(sr.std() - gt.std()), abs=1e-4)  # of float32 sums
    difference = (sr - gt)[4:-4, 4:-4, 0]
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean(difference.astype(np.float64) ** 2)))
    assert to_csv(result).startswith("set,variant,picture,contrasterror,rmse\n")
    assert "contrasterror ↓  rmse ↓" in list(table_lines([result]))[1]
    write_report(result, folders / "out")
    rows = result.sets[0].rows
    best = min(rows, key=lambda name: rows[name]["contrasterror"])
    assert [path for path in (folders / "out").glob("*.png") if f"best_{best}" in path.name]
