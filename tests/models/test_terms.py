"""`model.criterions`: any number of any registered losses, beside the fixed places."""

import numpy as np
import paddle
import pytest

from ppsr.config import check_config, load_config
from ppsr.criterions.gan import r1_penalty
from ppsr.errors import ConfigError, WeightError
from ppsr.models.base import Batch
from ppsr.models.cddnet import CDDNetModel
from ppsr.models.drn import DRNModel
from ppsr.models.sr import SRModel
from ppsr.registry import CRITERIONS, GENERATORS, build_model
from ppsr.solver.ema import EMA
from ppsr.weights import write_state
from tests.engine.helpers import write_config
from tests.models.test_align import batch_of as views_of
from tests.models.test_align import make as align_model

GENERATOR = {"name": "MSRResNet", "num_feat": 4, "num_block": 1, "upscale": 2}
DISCRIMINATOR = {"name": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 2}
GAN = {"name": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1}


class Total:
    """A loss that has no weight of its own."""

    def __call__(self, sr, gt):
        return (sr - gt).abs().sum()


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(CRITERIONS._objects, "TotalLoss", Total)


def batch_of(rng, *names: str) -> Batch:
    sides = {"lq": 8, **dict.fromkeys(("gt", "gt_usm", *names), 16)}
    return Batch({k: paddle.to_tensor(rng.random((2, 3, s, s), dtype=np.float32)) for k, s in sides.items()})


def numbers(losses) -> dict[str, float]:
    return {label: float(value) for label, value in losses.items()}


def test_a_list_gives_what_the_fixed_places_give(rng):
    fixed = SRModel(
        generator=GENERATOR,
        discriminator=DISCRIMINATOR,
        pixel_criterion={"name": "L1Loss", "loss_weight": 0.5},
        artifact_criterion={"name": "ArtifactLoss"},
        gan_criterion={"name": "GANLoss", "loss_weight": 0.1},
        gan_gt_usm=True,
    )
    listed = SRModel(
        generator=GENERATOR,
        discriminator=DISCRIMINATOR,
        criterions=[
            {"name": "L1Loss", "loss_weight": 0.5, "of": ["sr", "gt_usm"], "label": "l_pix"},
            {"name": "ArtifactLoss", "of": ["sr", "gt_usm", "averaged"], "label": "l_g_artifacts"},
            {"name": "GANLoss", "loss_weight": 0.1, "of": ["sr", "gt_usm"]},
        ],
    )
    batch = batch_of(rng)
    results = []
    for model in (fixed, listed):
        for name, net in model.nets.items():
            net.set_state_dict(fixed.nets[name].state_dict())
            net.eval()  # spectral norms stay where they are
        model.ema = EMA(model.nets, decay=0.9, net_names=["generator"]).nets
        own = Batch(batch)
        results.append({**numbers(model.generator_losses(own)), **numbers(model.discriminator_losses(own))})
        assert own["sr"].stop_gradient
    assert set(results[0]) == {"l_pix", "l_g_artifacts", "l_g_gan", "l_d_real", "l_d_fake"}
    assert results[0] == results[1]


def test_every_entry_counts_by_its_own_weight_and_compares_what_it_names(rng):
    entries = [
        {"name": "L1Loss"},
        {"name": "MSELoss", "loss_weight": 3, "of": ["sr", "gt_usm"]},
        {"name": "TotalLoss", "loss_weight": 0.25, "label": "sum"},
        {"name": "L1Loss", "of": ["sr", "other"]},
        None,  # taken away by an override
    ]
    model = SRModel(generator=GENERATOR, criterions=entries)
    batch = batch_of(rng, "other")
    losses = numbers(model.generator_losses(batch))
    sr, gt, usm, other = (batch[name].numpy().astype(np.float64) for name in ("sr", "gt", "gt_usm", "other"))
    expected = {
        "l_l1": np.abs(sr - gt).mean(),
        "l_mse": 3 * ((sr - usm) ** 2).mean(),
        "sum": np.abs(sr - gt).sum() / 4,
        "l_l1_2": np.abs(sr - other).mean(),
    }
    assert losses == pytest.approx(expected, rel=1e-4)


def test_a_loss_starts_and_rises_as_its_entry_says(rng):
    model = SRModel(
        generator=GENERATOR,
        criterions=[{"name": "L1Loss"}, {"name": "TotalLoss", "loss_weight": 2, "start": 3, "warmup": 1}],
    )
    batch = batch_of(rng)
    full = float((model.forward(batch, model.nets["generator"]) - batch["gt"]).abs().sum())
    shares = []
    for model.step in range(6):
        shares.append(numbers(model.generator_losses(batch)).get("l_total", 0) / full)
    assert shares == pytest.approx([0, 0, 0, 1, 2, 2], rel=1e-5)


def test_losses_of_two_views_are_entries_too():
    model = align_model(
        align_criterion=None,
        criterions=[{"name": "AlignmentLoss", "linear_weight": 2.0, "nonlinear_weight": 0, "loss_weight": 5}],
    )
    batch = model.prepare(views_of())
    losses = model.generator_losses(batch)
    linear = CRITERIONS.get("AlignmentLoss")(nonlinear_weight=0)(batch["view1"], batch["view2"])["l_reg"]
    assert set(losses) == {"l_pix", "l_reg"}
    assert float(losses["l_reg"]) == pytest.approx(10 * float(linear), rel=1e-6)


def test_dual_regression_takes_further_losses_of_paired_samples(rng):
    options = {"generator": {"name": "DRNGenerator", "scale": [2], "n_blocks": 1, "n_feats": 8}}
    model = DRNModel(**options, criterions=[{"name": "MSELoss"}])
    batch = batch_of(rng)
    losses = model.losses(batch)
    expected = ((batch["sr"] - batch["gt"]) ** 2).mean()
    assert float(losses["l_mse"]) == pytest.approx(float(expected), rel=1e-5)
    losses["l_mse"].backward()
    assert any(p.grad is not None for p in model.nets["generator"].parameters())
    with pytest.raises(ConfigError, match="unpaired_folder"):
        model.losses(Batch(batch, paired=paddle.ones([2])))
    with pytest.raises(ConfigError, match="no discriminator"):
        DRNModel(**options, criterions=[{"name": "GANLoss"}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the model has no loss"),
        ({"criterions": [{"name": "GANLoss"}]}, "both model.discriminator and a GANLoss"),
        ({"criterions": [{"name": "L1Loss"}], "discriminator": DISCRIMINATOR}, "both model.discriminator"),
        ({"criterions": [{"name": "GANLoss"}] * 2, "discriminator": DISCRIMINATOR}, "one GANLoss, got 2"),
        ({"criterions": [{"name": "L1Loss", "label": "a"}, {"name": "MSELoss", "label": "a"}]}, "label 'a'"),
    ],
)
def test_lists_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SRModel(generator=GENERATOR, **options)


def test_a_tensor_that_is_not_there_is_answered_with_the_nearest(rng):
    model = SRModel(generator=GENERATOR, criterions=[{"name": "L1Loss", "of": ["sr", "gt_us"]}])
    with pytest.raises(ConfigError, match="no tensor 'gt_us'; did you mean 'gt_usm'"):
        model.generator_losses(batch_of(rng))
    model = SRModel(generator=GENERATOR, criterions=[{"name": "L1Loss", "of": ["sr", "averaged"]}])
    with pytest.raises(ConfigError, match="ema"):
        model.generator_losses(batch_of(rng))


def test_a_predictor_without_its_targets_says_how_to_train(rng):
    predictor = {"name": "DegradationPredictor", "nf": 4, "num_params": 33, "num_networks": 2}
    dynamic = {"name": "CDDNet", "num_feat": 4, "num_block": 1, "num_models": 2, "upscale": 2}
    losses = {"pixel_criterion": {"name": "L1Loss"}, "regression_criterion": {"name": "L1Loss"}}
    model = CDDNetModel(generator=dynamic, predictor=predictor, **losses)
    with pytest.raises(ConfigError, match=r"DASRDataset, or set model\.regression_criterion=null"):
        model.generator_losses(batch_of(rng))


def test_tensors_of_different_shapes_are_named(rng):
    model = SRModel(generator=GENERATOR, criterions=[{"name": "L1Loss", "of": ["sr", "lq"]}])
    with pytest.raises(ConfigError, match=r"the loss l_l1 compares .*: sr \(\d.*\), lq \(\d"):
        model.generator_losses(batch_of(rng))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{name: L1Los}", "model.criterions.1: unknown criterion 'L1Los'; did you mean 'L1Loss'"),
        ("{name: L1Loss, reductoin: sum}", "'model.criterions.1.reductoin'; did you mean 'reduction'"),
        ("{name: L1Loss, off: [sr, gt]}", "no option 'model.criterions.1.off'; did you mean 'of'"),
        ("{name: L1Loss, of: sr}", "'model.criterions.1.of' is 'sr'"),
        ("{name: L1Loss, start: -1}", "'model.criterions.1.start' is -1"),
        ("{loss_weight: 1}", "'model.criterions.1' lacks the key 'name'"),
        ("L1Loss", "'model.criterions.1' must be a mapping"),
        ("{name: L1Loss}\n  teacher: {name: MSRResNet, upscale: 2}", "'model.teacher.weights' is missing"),
        ("{name: L1Loss}\n  teacher: {name: MSRResNt, weights: x}", "did you mean 'MSRResNet'"),
        ("{name: L1Loss}\n  teacher: {name: MSRResNet, weights: x, num_feats: 3}", "mean 'num_feat'"),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(tmp_path, entry, message):
    path = write_config(tmp_path)
    lines = path.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("model:")) + 1
    lines[at:at] = ["  criterions:", "  - {name: MSELoss}", f"  - {entry}"]
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError) as error:
        check_config(load_config(path))
    assert f"{path}:{at + 3 + entry.count(chr(10))}: " in str(error.value)
    assert message in str(error.value)


def test_an_entry_is_overridden_by_its_place(tmp_path):
    path = write_config(tmp_path)
    overrides = ["model.criterions=[{name: L1Loss}, {name: MSELoss}]", "model.criterions.1.loss_weight='2'"]
    config = load_config(path, overrides)
    check_config(config)
    model = build_model(config["model"])
    assert [term.label for term in model.terms][-2:] == ["l_l1", "l_mse"]
    assert model.terms[-1].criterion.loss_weight == 2


def test_the_r1_penalty_counts_for_the_steps_that_go_without(rng):
    gan = {**GAN, "r1_reg_weight": 10.0, "net_d_reg_every": 4}
    model = SRModel(generator=GENERATOR, discriminator=DISCRIMINATOR, gan_criterion=gan)
    images = [paddle.to_tensor(rng.random((2, 3, 16, 16), dtype=np.float32)) for _ in range(2)]
    seen = []
    for model.step in range(8):
        losses = model.discriminator_losses(Batch(gt=images[0], sr=images[1]))
        seen.append("l_d_r1" in losses)
        if model.step == 0:
            model.nets["discriminator"].eval()  # spectral norms stay where they are
            first = float(model.discriminator_losses(Batch(gt=images[0], sr=images[1]))["l_d_r1"])
            plain = float(r1_penalty(model.nets["discriminator"], images[0]))
            assert first == pytest.approx(plain * 10 / 2 * 4, rel=1e-5)
    assert seen == [True, False, False, False] * 2


@pytest.fixture
def teacher(tmp_path):
    """A network, and its section in a config."""
    net = GENERATORS.build(GENERATOR)
    net.eval()
    write_state(tmp_path / "teacher.pdparams", {k: v.numpy() for k, v in net.state_dict().items()})
    return net, {**GENERATOR, "weights": str(tmp_path / "teacher.pdparams")}


def test_images_and_layers_of_the_teacher_are_compared(rng, teacher):
    net, section = teacher
    model = SRModel(
        generator=GENERATOR,
        teacher=section,
        criterions=[
            {"name": "L1Loss", "of": ["sr", "teacher"]},
            {"name": "MSELoss", "of": ["generator.conv_first", "teacher.conv_first"], "loss_weight": 2},
        ],
    )
    batch = batch_of(rng)
    losses = model.generator_losses(batch)
    student = model.nets["generator"]
    with paddle.no_grad():
        image = (student(batch["lq"]) - net(batch["lq"])).abs().mean()
        features = [one.conv_first(batch["lq"]) for one in (student, net)]
        square = ((features[0] - features[1]) ** 2).mean()
    assert float(losses["l_l1"]) == pytest.approx(float(image), rel=1e-5)
    assert float(losses["l_mse"]) == pytest.approx(2 * float(square), rel=1e-5)
    sum(losses.values()).backward()
    assert all(p.grad is None for p in model.taught.net.parameters())
    assert float(student.conv_first.weight.grad.abs().max()) > 0
    assert set(model.nets) == {"generator"}  # a teacher is neither trained nor saved


def test_what_does_not_fit_is_named(rng, teacher):
    section = teacher[1]
    entry = {"name": "L1Loss", "of": ["sr", "teacher"]}
    with pytest.raises(ConfigError, match=r"model\.teacher"):
        SRModel(generator=GENERATOR, criterions=[entry]).generator_losses(batch_of(rng))
    for options, error, message in (
        ({"teacher": {**section, "upscale": 4}}, ConfigError, "enlarges 4 times"),
        ({"teacher": {**section, "num_feat": 8}}, WeightError, "conv_first"),
        ({"criterions": [entry | {"of": ["generator.conv_firts", "gt"]}]}, ConfigError, "mean 'conv_first'"),
        ({"criterions": [entry | {"of": ["sr", "teacher.conv_firts"]}]}, ConfigError, "mean 'conv_first'"),
    ):
        with pytest.raises(error, match=message):
            SRModel(**{"generator": GENERATOR, "teacher": section, "criterions": [entry], **options})


@pytest.mark.parametrize("discriminator", [DISCRIMINATOR, {"name": "NLayerDiscriminator", "ndf": 2}])
def test_a_discriminator_of_other_channels_is_refused(discriminator):
    generator = {**GENERATOR, "num_in_ch": 1, "num_out_ch": 1}
    with pytest.raises(ConfigError, match=r"discriminator takes 3 channels, but the images have the 1 of"):
        SRModel(generator=generator, discriminator=discriminator, gan_criterion=GAN)


@pytest.mark.parametrize(("name", "of"), [("L1Loss", ["sr"]), ("MSSSIMLoss", ["sr", "gt", "lq"])])
def test_a_wrong_number_of_compared_tensors_is_refused(name, of):
    with pytest.raises(ConfigError, match=rf"`of` of {name} is .*argument"):
        SRModel(generator=GENERATOR, criterions=[{"name": name, "of": of}])
