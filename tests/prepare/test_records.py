"""Notes of how results were made."""

from __future__ import annotations

import json

import pytest

from ppsr.errors import ConfigError
from ppsr.prepare.records import Record, claim


def _claim(root, options, command="c", outputs=("out",), recursive=True):
    claim(
        root / "out",
        command,
        options,
        source=root / "in",
        outputs=[root / o for o in outputs],
        recursive=recursive,
    )


def test_a_folder_made_with_other_options_is_refused(tmp_path):
    _claim(tmp_path, {"seed": 1, "sizes": (2, 3)})
    _claim(tmp_path, {"seed": 1, "sizes": (2, 3)})
    _claim(tmp_path, {"seed": 9}, command="another")
    with pytest.raises(ConfigError, match=r"was made with .*'seed': 1.* now .*'seed': 2"):
        _claim(tmp_path, {"seed": 2, "sizes": (2, 3)})


@pytest.mark.parametrize("output", ["in", "in/sub"])
def test_results_among_the_sources_are_refused(tmp_path, output):
    with pytest.raises(ConfigError, match="lies in the source"):
        _claim(tmp_path, {}, outputs=("out", output))


def test_results_may_lie_below_a_source_that_is_read_without_its_sub_folders(tmp_path):
    _claim(tmp_path, {}, outputs=("in/sub",), recursive=False)
    with pytest.raises(ConfigError, match="lies in the source"):
        _claim(tmp_path, {}, outputs=("in",), recursive=False)


@pytest.mark.parametrize("content", ["{", "[]", '{"c": 3}'])
def test_a_broken_record_is_named(tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prepare.json").write_text(content)
    with pytest.raises(ConfigError, match=r"prepare\.json"):
        _claim(tmp_path, {})


def _record(root, source, **options):
    return Record(root / "out", "c", options, source=root / source)


def test_another_source_is_refused_and_only_the_difference_shown(tmp_path):
    _record(tmp_path, "in", seed=1).write()
    with pytest.raises(
        ConfigError, match=r"made with \{'source': '\.\./in'\}, now .*'\.\./other'.*was only moved"
    ):
        _record(tmp_path, "other", seed=1).check(tmp_path / "out", "do this")
    with pytest.raises(
        ConfigError, match=r"made with \{'seed': 1\}, now \{'seed': 2\} is asked for; do this$"
    ):
        _record(tmp_path, "in", seed=2).check(tmp_path / "out", "do this")


def test_source_and_results_may_be_moved_together(tmp_path):
    _record(tmp_path / "old", "in").write()
    (tmp_path / "old").rename(tmp_path / "new")
    assert _record(tmp_path / "new", "in").check(tmp_path / "new" / "out", "")


def test_a_link_to_the_source_is_the_same_source(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    _record(tmp_path, "in").write()
    assert _record(tmp_path, "link").check(tmp_path / "out", "")


def test_notes_without_a_source_are_of_any(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prepare.json").write_text(json.dumps({"c": {"seed": 1}}))
    assert _record(tmp_path, "in", seed=1).check(tmp_path / "out", "")


def test_a_result_that_must_have_a_note_is_refused_without(tmp_path):
    assert not _record(tmp_path, "in").check(tmp_path / "out", "do this")
    with pytest.raises(ConfigError, match=r"does not say how it was made; do this"):
        _record(tmp_path, "in").require(tmp_path / "out", "do this")
