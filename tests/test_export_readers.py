"""How readers' answers are compared with ours, and which of them are taken as wrong."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from benchmarks.page_export import readers_section
from benchmarks.peers.readers import comparing
from benchmarks.peers.readers.judging import LLAMA, failures, not_promised


def test_losses_are_those_of_the_next_token() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1, 1, 1]], np.float32))
    found = comparing.losses(logits + 7, np.array([2, 1, 2]))
    np.testing.assert_allclose(found, [-math.log(0.25), -math.log(0.8)], rtol=1e-6)


def test_equal_logits_do_not_diverge_and_a_shift_of_all_is_no_divergence() -> None:
    logits = np.random.default_rng(1).normal(size=(4, 9)).astype(np.float32)
    same = comparing.logit_difference([(logits, logits)])
    shifted = comparing.logit_difference([(logits, logits), (logits, logits + 0.5)])
    assert same["largest_difference"] == same["mean_kl"] == 0
    assert shifted["largest_difference"] == pytest.approx(0.5, abs=1e-6)
    assert shifted["mean_kl"] == pytest.approx(0, abs=1e-9)
    assert shifted["largest_logit"] == pytest.approx(float(np.abs(logits).max()))


def test_divergence_is_that_of_theirs_from_ours() -> None:
    ours = np.log(np.array([[0.9, 0.1]], np.float32))
    theirs = np.log(np.array([[0.5, 0.5]], np.float32))
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert comparing.divergences(ours, theirs)[0] == pytest.approx(expected, rel=1e-6)


def test_a_difference_of_losses_is_theirs_less_ours() -> None:
    found = comparing.loss_difference(np.array([[1.0, 2.0]]), np.array([[1.5, 1.0]]))
    assert found["difference"] == pytest.approx(-0.25)
    assert found["largest_of_a_token"] == 1.0
    assert found["tokens"] == 2


def test_texts_with_other_ids_are_counted_by_what_they_hold() -> None:
    rows = [
        ("same", [1, 2], [1, 2]),
        ("a\u2581b", [1, 2, 3], [1, 9, 3]),
        ("a\0b", [1, 2], [1]),
        ("plain", [1], [1, 1]),
    ]
    found = comparing.id_difference(rows)
    assert (found["texts"], found["ids"], found["different"]) == (4, 8, 3)
    assert found["holding"] == {"U+2581": 1, "NUL": 1, "neither U+2581 nor NUL": 1}
    assert found["first"][0]["ours"] == [2, 3]
    assert len(found["first"]) == comparing.SHOWN


def run(loss: float = 0.0, logits: float = 0.0, packed: float = 0.0, greedy: int = 0) -> Any:
    texts = {"texts": 8, "tokens": 512, "different": greedy}
    size = {"largest_logit": 10.0, "mean_kl": 0.0}
    tokens = {"tokens": 9, "ours": 5.0, "theirs": 5.0 + loss, "difference": loss}
    return {
        "class": "Granite",
        "logits": {"largest_difference": logits, **size},
        "logits, fp32 cache": {"largest_difference": logits, **size},
        "packed": {"largest_difference": packed, **size},
        "loss": tokens,
        "loss, fp32 cache": tokens,
        "greedy": texts,
    }


def ids(different: int = 0, marked: int = 0) -> dict[str, Any]:
    return {"texts": 10, "ids": 50, "different": different, "holding": {"U+2581": marked}}


def texts(kind: str, lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    chats = {"up_to_the_answer": ids(), "other_targets": 0}
    return {"class": kind, "lines": lines, "spelling": ids(), "chats": chats, **more}


def reader(cases: Any = None, tokenizers: Any = None) -> dict[str, Any]:
    versions = {"transformers": "5", "llama-cpp-python": "0.3"}
    return {"versions": versions, "cases": cases or {}, "texts": tokenizers or {}}


STOCK = "transformers 5"


@pytest.mark.parametrize(
    ("figures", "name", "said"),
    [
        ({"logits": 9e-4}, "plain, granite, fp32", []),
        ({"logits": 2e-3}, "plain, granite, fp32", ["logits 0.002"]),
        ({"logits": math.nan}, "plain, granite, fp32", ["logits nan"]),
        ({"logits": 0.1, "packed": 0.1}, "plain, granite, bf16", []),
        ({"packed": 2e-3, "greedy": 1}, "yarn, llama, fp32", ["packed 0.002", "1 greedy texts"]),
        ({"loss": -2e-3}, "plain, granite, bf16", ["loss -0.002 nats"]),
        ({"loss": math.nan}, "plain, granite, bf16", ["loss +nan nats"]),
    ],
)
def test_what_is_out_of_its_limit_is_a_failure(
    figures: dict[str, float], name: str, said: list[str]
) -> None:
    found = list(failures({STOCK: reader({name: run(**figures)})}))  # type: ignore[arg-type]
    assert found == [f"{STOCK}: {name}: {one}" for one in said]


def test_llama_cpp_is_judged_by_its_loss_and_what_it_does_not_promise_is_said() -> None:
    cases = {
        "plain, granite, fp32": {"f32": run(logits=0.1), "f16": run(loss=0.01)},
        "dynamic, llama, fp32": {"f32": run(loss=1.0)},
        "wide heads, granite, fp32": {"f32": {"refused": "runtime: no"}},
        "wide heads, llama, fp32": {"f32": {"refused": "runtime: no"}},
    }
    readers = {LLAMA: reader(cases)}
    assert list(failures(readers)) == [
        "llama.cpp: plain, granite, fp32 as f16: loss +0.01 nats",
        "llama.cpp: wide heads, llama, fp32 as f32: runtime: no",
    ]
    assert sorted(not_promised(readers)) == [
        "llama.cpp: dynamic, llama, fp32",
        "llama.cpp: wide heads, granite, fp32",
    ]


def test_other_ids_are_a_failure_but_for_what_llama_cpp_loses() -> None:
    readers = {
        STOCK: reader(None, {"granite": texts("Fast", ids(1, 1), not_restored=2)}),
        LLAMA: reader(
            None,
            {
                "granite": texts("llama", ids(3, 3), without_bos=0),
                "llama": texts("llama", ids(4, 3), without_bos=1),
                "minicpm": texts("llama", ids(10)),
            },
        ),
    }
    assert list(failures(readers)) == [
        f"{STOCK}: granite: 1 of 10 lines have other ids",
        f"{STOCK}: granite: 2 lines not restored",
        "llama.cpp: llama: 1 of 10 lines have other ids",
        "llama.cpp: llama: 1 lines without bos",
    ]
    assert list(not_promised(readers)) == ["llama.cpp: ids, minicpm"]


def test_the_page_shows_every_case_and_what_failed() -> None:
    cases = {"plain, granite, fp32": {"f32": run(loss=0.01)}, "odd": {"f32": {"refused": "no"}}}
    readers = {
        STOCK: reader({"plain, llama, bf16": run(logits=0.25)}, {"llama": texts("Fast", ids())}),
        LLAMA: reader(cases),
    }
    page = "\n".join(
        readers_section(
            "export_readers",
            {
                "model": {"weights": "drawn", "parameters": 1234},
                "window": 256,
                "readers": readers,
                "not_promised": {},
                "not_run": {"vLLM": "needs CUDA"},
                "failures": list(failures(readers)),
            },
        )
    )
    for part in ("1,234", "2.5e-01", "+1.0e-02", "| odd | f32 | no |", "vLLM (needs CUDA)"):
        assert part in page
    assert "Out of their limits: llama.cpp: plain, granite, fp32 as f32: loss +0.01 nats" in page


def test_conversations_begin_with_a_system_message_or_a_user_and_end_with_an_answer() -> None:
    from benchmarks.peers.readers.questions import conversations, hard_strings

    chats = conversations(["one", "two"], 50, random.Random(1))
    assert {chat[0]["role"] for chat in chats} == {"system", "user"}
    assert {chat[-1]["role"] for chat in chats} == {"assistant"}
    strings = list(hard_strings(["some line of text\n"], 200, random.Random(1)))
    assert any("\u2581" in text for text in strings)
    assert any("\0" in text for text in strings)
