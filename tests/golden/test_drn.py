"""DRN against the original code: pyramids, dual outputs, both styles of loss, gradients, three Adam steps."""

from pathlib import Path

import paddle
import pytest

from ppsr.criterions.dual_regression import drn_losses
from ppsr.generators.drn import DRNDual, DRNGenerator
from ppsr.weights.loading import load_state
from tests.golden.files import Golden, assert_close, golden, with_values

RTOL = 2e-4  # the tolerance that the files state: of the largest reference value
STYLES = {"original": "original", "paddle": "paddledepth"}


class Case:
    """The networks of one file with its images."""

    def __init__(self, path: Path) -> None:
        self.file = Golden(path)
        meta = self.file.meta
        names = ("scale", "n_blocks", "n_feats", "n_colors", "rgb_range", "negval")
        self.net = DRNGenerator(**{name: meta[name] for name in names})
        load_state(self.net, self.file.params, layout="torch")
        self.duals = []
        for index in range(len(meta["scale"])):
            dual = DRNDual(
                in_channels=meta["n_colors"],
                n_feats=meta["n_feats"],
                out_channels=meta["n_colors"],
                negval=meta["negval"],
            )
            load_state(dual, self.file.group(f"param_dual/{index}"), layout="torch")
            self.duals.append(dual)
        levels = ["input/lr", *(f"input/lr_level{i}" for i in range(1, len(meta["scale"])))]
        self.lr = [paddle.to_tensor(self.file[key]) for key in levels]
        self.hr = paddle.to_tensor(self.file["input/hr"])

    def forward(self):
        sr = self.net(self.lr[0])
        return sr, [dual(image) for dual, image in zip(self.duals, sr[1:], strict=True)]


@golden("drn_x[0-9]*")
@pytest.mark.smoke
def test_images_and_dual_images_equal_the_original(path: Path) -> None:
    case = Case(path)
    with paddle.no_grad():
        sr, back = case.forward()
    assert len(sr) == len(case.duals) + 1
    for index, image in enumerate(sr):
        assert_close(image.numpy(), case.file[f"output/sr{index}"], rtol=RTOL, what=f"sr{index}")
    for index, image in enumerate(back):
        assert_close(image.numpy(), case.file[f"output/dual{index}"], rtol=RTOL, what=f"dual{index}")


@golden("drn_x[0-9]*")
def test_every_distance_of_the_closed_loop_equals_the_original(path: Path) -> None:
    case = Case(path)
    with paddle.no_grad():
        sr, back = case.forward()
        pairs = [(sr[-1], case.hr), *zip(sr[:-1], case.lr, strict=True), *zip(back, case.lr, strict=True)]
        terms = [float((a - b).abs().mean()) for a, b in pairs]
    assert_close(terms, case.file["output/loss_terms"], rtol=1e-5, what="L1 terms")


@pytest.mark.parametrize("stored", STYLES)
@golden("drn_x[0-9]*")
def test_losses_equal_both_published_styles(path: Path, stored: str) -> None:
    case = Case(path)
    with paddle.no_grad():
        losses = drn_losses(*case.forward(), case.lr, case.hr, style=STYLES[stored])
    for value, expected in zip(losses.values(), case.file[f"output/loss_{stored}"], strict=True):
        assert_close(float(value), expected, rtol=1e-5, what=stored)


@golden("drn_x[0-9]*")
def test_gradients_of_the_original_loss_equal_the_original(path: Path) -> None:
    case = Case(path)
    images = [
        [with_values(one, case.file[f"output/{name}{i}"]) for i, one in enumerate(group)]
        for name, group in zip(("sr", "dual"), case.forward(), strict=True)
    ]
    drn_losses(*images, case.lr, case.hr)["total"].backward()
    groups = [("output/grad", case.net)]
    groups += [(f"output/grad_dual/{index}", dual) for index, dual in enumerate(case.duals)]
    compared = 0
    for prefix, net in groups:
        parameters = dict(net.named_parameters())
        for key, expected in case.file.group(prefix).items():
            assert_close(parameters[key].grad.numpy(), expected, rtol=1e-3, atol=1e-7, what=f"{prefix}/{key}")
            compared += 1
    assert compared >= len(case.duals)
