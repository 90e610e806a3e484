"""Configs: values, bases, overrides; nothing is executed and every mistake has one message."""

import math
import os
import time
from pathlib import Path

import pytest

from ppsr.config import load_config
from ppsr.config.yaml_tree import parse_yaml
from ppsr.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def _write(text: str, name: str = "x.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


@pytest.mark.smoke
def test_scalars_follow_yaml_1_2(write):
    text = "a: 1e-4\nb: NO\nc: 010\nd: 12:30:45\ne: true\nf: ~\ng: '7'\nh: (2, 4)\ni: (0., 255.)\n"
    expected = [1e-4, "NO", 10, "12:30:45", True, None, "7", [2, 4], [0.0, 255.0]]
    assert load_config(write(text)) == dict(zip("abcdefghi", expected, strict=True))


def test_duplicate_key_is_refused_with_both_lines(write):
    with pytest.raises(ConfigError, match=r"x\.yaml:3: the key 'a' is given twice; first at .*x\.yaml:1"):
        load_config(write("a: 1\nb: 2\na: 3\n"))


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch /tmp/ppsr_owned']",
        "!!python/object/new:os.system [x]",
        "a: !!binary aGk=",
        "a: !custom 3",
    ],
)
def test_yaml_that_would_build_objects_is_refused(write, text):
    with pytest.raises(ConfigError, match="is refused"):
        load_config(write(text))


def test_alias_bomb_is_refused(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    with pytest.raises(ConfigError, match="values after expanding aliases"):
        load_config(write("\n".join(lines)))


def test_an_option_file_of_basicsr_names_the_command_that_converts_it(write):
    with pytest.raises(ConfigError, match="option file of BasicSR; convert it: ppsr convert-config"):
        load_config(write("model_type: SRModel\nnetwork_g: {type: HAT}"))


def test_paths_may_begin_with_the_home_folder(write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = load_config(write("output_dir: ~/out\na: [~/b, x~/y, ~]"), ["load.net.path=~/w.pth"])
    assert config["output_dir"] == "/home/me/out"
    assert config["a"] == ["/home/me/b", "x~/y", None]
    assert config["load"]["net"]["path"] == "/home/me/w.pth"


@pytest.mark.parametrize("text", ["a: " + "[" * 5000, "a: b: c", "- 1\n- 2\n", "\t- x"])
def test_broken_files_end_in_a_config_error(write, text):
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        load_config(write(text))


def test_devices_and_pipes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(ConfigError, match="not a regular file"):
            load_config(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_base_is_merged_and_another_component_replaces(write):
    write("model: {name: A, generator: {name: G, x: 1, y: 2}}\nseed: 3\n", "base.yaml")
    config = load_config(write("base: base.yaml\nmodel: {generator: {x: 5}}\n"))
    assert config == {"model": {"name": "A", "generator": {"name": "G", "x": 5, "y": 2}}, "seed": 3}
    config = load_config(write("base: base.yaml\nmodel: {generator: {name: H, z: 5}}\n"))
    assert config["model"]["generator"] == {"name": "H", "z": 5}


def test_a_missing_base_is_named_with_the_file_that_wants_it(write):
    with pytest.raises(ConfigError, match=r"top\.yaml:2: there is no file .*none\.yaml"):
        load_config(write("seed: 3\nbase: none.yaml\n", "top.yaml"))


def test_a_base_of_a_base_is_refused(write):
    write("seed: 1\n", "one.yaml")
    write("base: one.yaml\n", "two.yaml")
    with pytest.raises(ConfigError, match="itself a base"):
        load_config(write("base: two.yaml\n"))


def test_overrides_reach_into_lists_and_follow_yaml(write):
    path = write("a: {b: [{c: 1}, {c: 2}]}\n")
    config = load_config(path, ["a.b.1.c=1e-4", "a.d=[1, 2]", "e=__import__('os').system('x')"])
    assert config["a"] == {"b": [{"c": 1}, {"c": 1e-4}], "d": [1, 2]}
    assert config["e"] == "__import__('os').system('x')"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a.b.7=1", "'7' is not an index of a list of 1"),
        ("a", "the form a.b.c=value"),
        ("n.x=1", "'n' is a single value"),
        ("n=[", "not valid YAML"),
    ],
)
def test_bad_overrides_name_themselves(write, override, message):
    with pytest.raises(ConfigError, match="-o ") as error:
        load_config(write("a: {b: [1]}\nn: 3\n"), [override])
    assert message in str(error.value)


HOSTILE = {
    "nested list": "- " * 400_000 + "1",
    "nested lists on lines": "\n".join(" " * i + "-" for i in range(900)),
    "nested keys": "? " * 100_000,
    "nested brackets": "[" * 5000,
    "long flow list": "a: [" + "1," * 400_000 + "1]",
    "not YAML": "\t" * 900_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_within_a_second(text):
    started = time.process_time()
    with pytest.raises(ConfigError, match=r"^hostile"):
        parse_yaml(text, "hostile")
    assert time.process_time() - started < 1


def test_a_number_of_many_digits_is_read_as_a_float():
    assert parse_yaml("a: " + "9" * 5000, "x")[0] == {"a": math.inf}
    assert parse_yaml("a: -" + "1" * 200, "x")[0] == {"a": pytest.approx(-1.111111e199)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}x4", "{}x4"),
        ("run #2/HR", "run #2/HR"),
        ("{}_LR.v2", "{}_LR.v2"),
        ("{}", {}),
        ("{a: 1}", {"a": 1}),
        (os.fsdecode(b"\xd1\xb5\xc1/HR"), os.fsdecode(b"\xd1\xb5\xc1/HR")),  # GBK, as of many archives
    ],
)
def test_a_name_with_a_placeholder_in_front_or_of_other_bytes_is_text(tmp_path, text, value):
    (tmp_path / "c.yaml").write_text("a: 1")
    assert load_config(tmp_path / "c.yaml", [f"b={text}"])["b"] == value
