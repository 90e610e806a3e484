"""Figures and their files."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from ppsr.analysis.csm import Ablation
from ppsr.analysis.figures import contribution_density, draw_ablation, draw_ddr, mosaic, save_figure


@pytest.mark.parametrize("shape", [(9, 9), (7, 12)])
def test_density_equals_that_of_scipy(shape, rng):
    contribution = rng.random(shape).astype(np.float32) ** 4
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    places = np.stack([rows.ravel(), columns.ravel()]).astype(float)
    expected = gaussian_kde(places, weights=contribution.ravel().astype(float))(places).reshape(shape)
    np.testing.assert_allclose(contribution_density(contribution), expected / expected.max(), atol=1e-6)


def test_density_of_nothing_and_of_one_pixel_is_finite():
    assert not contribution_density(np.zeros((4, 5), np.float32)).any()
    one = np.zeros((4, 5), np.float32)
    one[1, 2] = 1
    assert contribution_density(one)[1, 2] == 1


def test_mosaic_places_tiles_in_rows():
    tiles = np.arange(3)[:, None, None] * np.ones((3, 2, 4))
    sheet = mosaic(tiles, columns=2, gap=1)
    assert sheet.shape == (5, 9)
    assert (sheet[:2, :4] == 0).all()
    assert (sheet[:2, 5:] == 1).all()
    assert (sheet[3:, :4] == 2).all()
    assert np.isnan(sheet[2]).all()
    assert np.isnan(sheet[3:, 4:]).all()


def test_a_figure_is_saved_with_its_report_and_arrays_and_is_the_same_again(tmp_path):
    def save(stem):
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, 1], [1, 0], label="line")
        return save_figure(figure, stem, {"settings": {"fold": 3}}, {"values": np.arange(4)})

    first, second = save(tmp_path / "a.b" / "lam"), save(tmp_path / "again" / "lam")
    assert sorted(p.name for p in first) == ["lam.json", "lam.npz", "lam.png", "lam.svg"]
    assert sorted(p.name for p in (tmp_path / "a.b").iterdir()) == sorted(p.name for p in first)
    for a, b in zip(first[:3], second[:3], strict=True):
        assert a.read_bytes() == b.read_bytes()
    assert json.loads(first[2].read_text()) == {"settings": {"fold": 3}}
    np.testing.assert_array_equal(np.load(first[3])["values"], np.arange(4))


def test_scatter_plots_draw_every_group_even_without_area(rng):
    points = rng.normal(size=(9, 2))
    points[:3] = [[0, 0], [1, 1], [2, 2]]
    figure = draw_ddr([("one", points), ("two", points)], np.repeat([0, 1, 2], 3), ["clean", "blur", "noise"])
    assert [len(axes.collections) for axes in figure.axes] == [3, 3]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["clean", "blur", "noise"]


def test_ablation_curves_start_with_the_whole_network(rng):
    single = Ablation(rng.random(4), rng.random(4))
    figure = draw_ablation("x", np.ones(4), single, {"order": Ablation(rng.random(3), rng.random(3))}, 30.0)
    line = figure.axes[2].lines[0]
    assert line.get_ydata()[0] == 30
    assert len(line.get_ydata()) == 4
