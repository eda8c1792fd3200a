"""Records to questions in cloze form: what may follow a question are the texts of its options.

    item = arc(record, key="Mercury_7")
    item.context, item.options        "Question: ...\\nAnswer:", (" granite", " a cloud", ...)

Models below about 1B parameters choose letters by chance, so options are not lettered. A context
begins as the tasks of lm-evaluation-harness do, where those are in cloze form too (HellaSwag, ARC,
GSM8K).

**The space before an option belongs to the option.** A SentencePiece model joins it to the first
word, so it cannot be left to the context, and it is predicted: an English answer has one byte and
the nats of a space more than its text, which makes short answers look a little better in bits per
byte than they are. Chinese answers follow their colon without a space. Figures compare where both
are of this form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.evaluation.tasks.items import Item
from trainer.evaluation.tasks.option_lists import listed
from trainer.evaluation.tasks.records import LETTERS

_BRACKETS = re.compile(r"\[.*?\]")


def hellaswag(record: Mapping[str, Any], key: str) -> Item:
    """The activity and what has happened; options are how it may go on. Square brackets are rests
    of wikiHow's markup: ``[title]`` ends a sentence, the others go. Items of one video or article
    (``source_id``) are a cluster.
    """
    passage = f"{record['ctx_a']} {record['ctx_b'].capitalize()}"
    context = _without_brackets(f"{record['activity_label']}: {passage}")
    options = [" " + _without_brackets(ending) for ending in record["endings"]]
    shared = record.get("source_id")
    cluster = shared if isinstance(shared, str) else key
    right = int(record["label"])
    return _chosen(key, context, options, right, _lines(passage, record["endings"]), cluster)


def _without_brackets(text: str) -> str:
    return _BRACKETS.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def arc(record: Mapping[str, Any], key: str) -> Item:
    """Question and options."""
    choices = record["choices"]
    return _english(
        key, record["question"], choices["text"], choices["label"].index(record["answerKey"])
    )


def mmlu(record: Mapping[str, Any], key: str) -> Item:
    """Question and options, for MMLU and MMLU-Redux."""
    return _english(key, record["question"], record["choices"], record["answer"])


def ceval(record: Mapping[str, Any], key: str) -> Item:
    """Question and options, in Chinese."""
    return _chinese(key, record["question"], record, record["answer"])


def cmmlu(record: Mapping[str, Any], key: str) -> Item:
    """Question and options, in Chinese."""
    return _chinese(key, record["Question"], record, record["Answer"])


def gsm8k(record: Mapping[str, Any], key: str) -> Item:
    """The answer is written, with its steps as they were published: the calculator's marks
    ``<<…>>`` and the last line ``#### n`` count.
    """
    question = record["question"].strip()
    return _written(key, f"Question: {question}\nAnswer:", record["answer"], question)


def bbh(record: Mapping[str, Any], key: str) -> Item:
    """Where the question ends with a list of options, they are taken out of it and follow it as
    texts, without their letters; else the answer is written. So it is with an answer that is none
    of those listed: in three questions the list was cut apart at commas.
    """
    asked, answer = record["input"].strip(), record["target"].strip()
    found = listed(asked, answer)
    if found is None or found.right is None:
        return _written(key, f"Q: {asked}\nA:", answer, asked)
    options = [f" {option}" for option in found.options]
    return _chosen(key, f"Q: {found.question}\nA:", options, found.right, asked)


def _english(key: str, question: str, options: Sequence[str], right: int) -> Item:
    asked = question.strip()
    texts = [f" {option.strip()}" for option in options]
    return _chosen(key, f"Question: {asked}\nAnswer:", texts, right, _lines(asked, texts))


def _chinese(key: str, question: str, record: Mapping[str, Any], letter: str) -> Item:
    asked = question.strip()
    options = [record[name].strip() for name in LETTERS]
    right = LETTERS.index(letter)
    return _chosen(key, f"问题：{asked}\n答案：", options, right, _lines(asked, options))


def _lines(asked: str, options: Sequence[str]) -> str:
    return "\n".join([asked, *(option.strip() for option in options)])


def _chosen(
    key: str, context: str, options: Sequence[str], right: int, text: str, cluster: str = ""
) -> Item:
    return Item(key, context, tuple(options), right, options[right], cluster or key, text)


def _written(key: str, context: str, answer: str, asked: str) -> Item:
    return Item(key, context, (), None, f" {answer.strip()}", key, asked)
