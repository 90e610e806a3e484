"""The drawings in docs/images are those that docs/figures draws."""

import importlib.util
import sys
from pathlib import Path
from xml.etree import ElementTree

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
