import numpy as np
import paddle
import pytest

from ppsr.criterions import lpips, vgg
from ppsr.criterions.perceptual import PerceptualLoss
from ppsr.criterions.vgg import VGGFeatureExtractor
from ppsr.errors import ConfigError, WeightError

_LAYERS = {"conv1_1": 0.5, "relu1_2": 2.0}


def _loss(**options):
    return PerceptualLoss(
        layer_weights=_LAYERS, extractor=VGGFeatureExtractor(layer_name_list=list(_LAYERS)), **options
    )


def _images(rng):
    return (paddle.to_tensor(rng.random((2, 3, 6, 6), dtype=np.float32)) for _ in range(2))


@pytest.mark.parametrize(
    ("criterion", "distance"),
    [
        ("l1", lambda d: np.abs(d).mean()),
        ("l2", lambda d: (d**2).mean()),
        ("fro", lambda d: np.sqrt((d**2).sum())),
    ],
)
def test_the_loss_is_the_weighted_sum_over_layers(rng, criterion, distance):
    loss = _loss(criterion=criterion, perceptual_weight=3.0)
    sr, gt = _images(rng)
    ours, theirs = loss.vgg(sr), loss.vgg(gt)
    expected = 3 * sum(w * distance(ours[k].numpy() - theirs[k].numpy()) for k, w in _LAYERS.items())
    assert float(loss(sr, gt)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("criterion", ["l1", "l2", "fro"])
def test_equal_images_have_a_finite_gradient(rng, criterion):
    gt, _ = _images(rng)
    sr = gt.clone().detach()
    sr.stop_gradient = False
    _loss(criterion=criterion, style_weight=1.0)(sr, gt).backward()
    assert np.isfinite(sr.grad.numpy()).all()


def test_gray_images_and_nothing_to_compute_are_refused():
    with pytest.raises(ConfigError, match="both 0"):
        _loss(perceptual_weight=0.0)
    with pytest.raises(ConfigError, match="1 channel"):
        _loss()(paddle.zeros([1, 1, 4, 4]), paddle.zeros([1, 1, 4, 4]))


def test_an_unknown_network_and_an_absent_file_of_lpips_are_explained(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'alex'"):
        lpips.LPIPS(net="alexnet")
    with pytest.raises(ConfigError, match=r"alexnet-owt-7be5be79\.pth"):
        lpips.build_lpips(weights=tmp_path / "none.pth")


def _state(net):
    """A torchvision state dict for a network, with entries beyond its cut."""
    names = vgg.vgg_names(net.vgg_type)
    state = {"classifier.0.weight": np.zeros([2, 2], np.float32), "features.99.bias": np.zeros(3, np.float32)}
    for key, value in net.vgg_net.state_dict().items():
        name, kind = key.split(".")
        state[f"features.{names.index(name)}.{kind}"] = value.numpy() * 0 + len(state) * 1e-2
    return state


def test_the_network_is_cut_behind_the_deepest_layer_and_frozen(rng):
    net = vgg.VGGFeatureExtractor(layer_name_list=["pool1", "conv1_2"])
    layers = " ".join(name for name, _ in net.vgg_net.named_children())
    assert layers == "conv1_1 relu1_1 conv1_2 relu1_2 pool1"
    assert all(p.stop_gradient for p in net.parameters())
    x = paddle.to_tensor(rng.random((1, 3, 6, 8), dtype=np.float32))
    x.stop_gradient = False
    maps = net(x)
    assert list(maps) == ["conv1_2", "pool1"]
    assert float(maps["conv1_2"].min()) < 0  # before its ReLU
    maps["pool1"].sum().backward()
    assert float(x.grad.abs().sum()) > 0


def test_torchvision_weights_land_under_the_right_names():
    net = vgg.VGGFeatureExtractor(layer_name_list=["conv1_2"], vgg_type="vgg16")
    state = _state(net)
    net.load_torchvision(state)
    np.testing.assert_array_equal(net.vgg_net.conv1_2.weight.numpy(), state["features.2.weight"])
    del state["features.2.bias"]
    with pytest.raises(WeightError, match=r"missing vgg_net\.conv1_2\.bias"):
        net.load_torchvision(state)


def test_unknown_layers_and_types_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'conv5_4'"):
        vgg.VGGFeatureExtractor(layer_name_list=["conv5_5"])
    with pytest.raises(ConfigError, match="did you mean 'vgg1"):
        vgg.VGGFeatureExtractor(layer_name_list=["conv1_1"], vgg_type="vgg18")
    with pytest.raises(ConfigError, match="pool1"):
        vgg.VGGFeatureExtractor(layer_name_list=["pool1"], remove_pooling=True)


def test_an_absent_file_says_where_to_get_it_and_where_to_put_it(tmp_path):
    with pytest.raises(ConfigError) as error:
        vgg.read_backbone("vgg19", tmp_path / "none.pth", needed_by="X")
    text = str(error.value)
    address = "https://download.pytorch.org/models/"
    for part in ("vgg19-dcbb9e9d.pth", address, str(tmp_path), "perceptual_criterion=null"):
        assert part in text


def test_a_file_without_features_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "other.pth"
    path.write_bytes(b"x")
    monkeypatch.setattr(vgg, "read_state", lambda _: {"fc.weight": np.zeros(1)})
    with pytest.raises(WeightError, match=r"features\.\*"):
        vgg.read_backbone("vgg19", path, needed_by="X")
