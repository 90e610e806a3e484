"""What the page says is complete in both languages."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from ppsr.serve import texts
from ppsr.serve.limits import Admission, Limits, RefusedError, Watch
from ppsr.serve.service import Options


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh", "zh"),
        ("zh-Hant-TW;q=1", "zh"),
        (" ZH-cn , en", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("de", "en"),
        ("zhx", "en"),
        ("*", "en"),
        ("", "en"),
    ],
)
def test_the_language_is_the_first_that_the_browser_asks_for(accepted, language):
    assert texts.language_of(accepted) == language


def test_every_text_names_the_same_values_in_chinese_as_in_english_or_fewer():
    for english, chinese in [*texts._TEXTS.values(), *texts._SAID.values()]:
        named = [set(re.findall(r"{(\w+)", text)) for text in (english, chinese)]
        assert named[1] <= named[0] | {"count"}
        assert re.search("[\u4e00-\u9fff]", chinese)
        assert not re.search("[\u4e00-\u9fff]", english)


def _refused(code):
    limits = Limits(max_requests=1, max_seconds=1e-9)
    with pytest.raises(RefusedError) as refused:
        if code == "bad_option":
            Options(outscale=-1)
        elif code == "too_many_requests":
            admission = Admission(limits.max_requests)
            with admission.enter(), admission.enter():
                pass
        else:
            watch = Watch()
            watch.start(-1)
            watch.check()
    assert refused.value.code == code
    return refused.value, limits


@pytest.mark.parametrize(
    ("code", "named"), [("bad_option", "1024"), ("too_many_requests", "1 张"), ("time_limit", "1e-09 秒")]
)
def test_a_refusal_is_said_in_chinese_with_its_numbers(code, named):
    error, limits = _refused(code)
    said = texts.refusal(error, "zh", limits)
    assert named in said
    assert not re.search("[a-z]{3}", said)
    assert texts.refusal(error, "en", limits) == str(error)


def test_a_refusal_without_a_text_is_shown_as_it_is():
    error = RefusedError(404, "no_such_model", "no model 'a'")
    assert texts.refusal(error, "zh", Limits()) == "no model 'a'"
