"""The drawings in docs/images are those that docs/figures draws."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def _systems(monkeypatch, images):
    spec = importlib.util.spec_from_file_location("systems", DOCS / "figures" / "systems.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "IMAGES", images)
    return module


def test_drawing_again_changes_nothing(monkeypatch, tmp_path):
    _systems(monkeypatch, tmp_path).main()
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert drawn
    for name, text in drawn.items():
        assert (DOCS / "images" / name).read_text(encoding="utf-8") == text, name
        assert ElementTree.fromstring(text).tag.endswith("svg")


def test_words_that_do_not_fit_are_refused(monkeypatch, tmp_path):
    figure = _systems(monkeypatch, tmp_path).Figure(200, 100, "a test")
    figure.box(0, 0, 60, 30, "short")
    with pytest.raises(ValueError, match="does not fit"):
        figure.box(0, 0, 60, 30, "far too long for it")
    with pytest.raises(ValueError, match="leaves 200 x 100"):
        figure.arrow((0, 0), (201, 0))
