"""A digest covers what a definition and all it reaches say, and not where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.run.source_code.code_digests import CodeDigests
from pipelines.run.source_code.definitions import Definition, House

HOUSE = {
    "artifacts/__init__.py": "",
    "artifacts/paths.py": "def opened(name):\n    return open(name)\n",
    "dedup/__init__.py": "from dedup.words import split\n",
    "dedup/words.py": '''"""Words."""

import functools
from typing import Any

import numpy as np

SHORTEST = 3
TABLE = np.zeros(8)
TABLE[SHORTEST] = 1
for _row in range(2):
    TABLE[_row] = 2


def _mark(function):
    return functools.wraps(function)(function)


@_mark
def split(text: str, least: int = SHORTEST) -> list[str]:
    """Words of a text."""
    # of at least so many letters
    words: list[str] = text.split()
    return [word for word in words if len(word) >= least and TABLE[0]]
''',
    "dedup/base.py": """class Base:
    version = 1

    def words(self, text):
        return len(text)
""",
    "dedup/numbers.py": """def _weight(value):
    return value + 1


def weighed(value):
    return _weight(value)
""",
    "dedup/others.py": """def _weight(value):
    return value * 2


def heavier(value):
    return _weight(value)


class Passed:
    def counted(self, text):
        return text.count("a")


def is_even(value):
    return value == 0 or is_odd(value - 1)


def is_odd(value):
    return value != 0 and is_even(value - 1)
""",
    "dedup/rule.py": '''from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dedup.numbers
from artifacts.paths import opened
from dedup import others, split
from dedup.base import Base
from dedup.numbers import weighed
from pydantic import Field

if TYPE_CHECKING:
    from dedup.others import Passed

LARGEST = 64
KINDS = {"heavy": others.heavier}


@dataclass(frozen=True)
class Rule(Base):
    """A rule."""

    size: int = LARGEST
    depth: int = Field(default=1, description="levels looked at")

    def measure(self, text: str, passed: Passed):
        from dedup.others import is_even

        opened(text)
        if self.size > 1:
            from dedup.numbers import weighed as reader
        else:
            from dedup.others import heavier as reader
        return split(text), weighed(1), dedup.numbers.weighed(2), KINDS["heavy"](reader(3)), is_even
''',
}
RULE = Definition("dedup.rule", "Rule")


def digest(folder: Path, files: dict[str, str], root: Definition = RULE) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    house = House(folder, ("artifacts", "dedup"))
    return CodeDigests(house, {"artifacts.paths"}).digest([root])


def changed(file: str, old: str, new: str) -> dict[str, str]:
    assert HOUSE[file].count(old) >= 1, old
    return {**HOUSE, file: HOUSE[file].replace(old, new, 1)}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("dedup/rule.py", "self.size > 1", "self.size > 2", id="own method"),
        pytest.param("dedup/rule.py", "LARGEST = 64", "LARGEST = 65", id="constant"),
        pytest.param("dedup/rule.py", "frozen=True", "frozen=False", id="decorator's argument"),
        pytest.param("dedup/rule.py", "size: int", "size: float", id="type of a field"),
        pytest.param("dedup/rule.py", "default=1", "default=2", id="default of a field"),
        pytest.param("dedup/rule.py", "others.heavier", "others.is_odd", id="value in a table"),
        pytest.param("dedup/rule.py", "numbers import weighed as", "others import heavier as", id="one of two imports"),
        pytest.param("dedup/rule.py", "(Base)", "(Base, others.Passed)", id="base class"),
        pytest.param("dedup/base.py", "len(text)", "len(text) + 1", id="method of a base class"),
        pytest.param("dedup/words.py", "text.split()", "text.split(' ')", id="callee in another file"),
        pytest.param("dedup/words.py", "SHORTEST = 3", "SHORTEST = 4", id="constant in a default"),
        pytest.param("dedup/words.py", "least: int = SHORTEST", "least: int = 7", id="default argument"),
        pytest.param("dedup/words.py", "wraps(function)", "wraps(_mark)", id="code of a decorator"),
        pytest.param("dedup/words.py", "@_mark\n", "", id="decorator taken away"),
        pytest.param("dedup/words.py", "[SHORTEST] = 1", "[SHORTEST] = 5", id="statement on a table"),
        pytest.param("dedup/words.py", "range(2)", "range(3)", id="loop on a table"),
        pytest.param("dedup/words.py", "np.zeros", "np.ones", id="function of another package"),
        pytest.param("dedup/numbers.py", "value + 1", "value + 2", id="private callee"),
        pytest.param("dedup/others.py", "value * 2", "value * 3", id="private callee of the same name"),
        pytest.param("dedup/others.py", 'count("a")', 'count("b")', id="method of an object passed in"),
        pytest.param("dedup/others.py", "is_even(value - 1)", "is_even(value - 3)", id="circle of functions"),
    ],
)  # fmt: skip
def test_a_change_of_what_is_done_changes_the_digest(
    tmp_path: Path, file: str, old: str, new: str
) -> None:
    assert digest(tmp_path / "a", HOUSE) != digest(tmp_path / "b", changed(file, old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("dedup/rule.py", '    """A rule."""\n\n', "", id="docstring"),
        pytest.param("dedup/words.py", "    # of at", "    # or of at", id="comment"),
        pytest.param("dedup/words.py", "text: str", "text: bytes", id="annotation of an argument"),
        pytest.param("dedup/words.py", "words: list[str] = ", "words = ", id="annotation of a name"),
        pytest.param("dedup/words.py", " -> list[str]", "", id="annotation of the result"),
        pytest.param("dedup/words.py", "import Any", "import Any, cast", id="import that is not used"),
        pytest.param("dedup/words.py", "import functools", "import functools, os", id="another import"),
        pytest.param("dedup/rule.py", "levels looked at", "levels that are looked at", id="help text"),
        pytest.param("dedup/others.py", "\n\nclass Passed", "\n\ndef lost():\n    pass\n\n\nclass Passed", id="not in reach"),
        pytest.param("artifacts/paths.py", "open(name)", "open(name, 'rb')", id="carrier"),
        pytest.param("dedup/rule.py", "    from dedup.others import Passed", "    import dedup.others\n    from dedup.others import Passed", id="import for type checkers"),
    ],
)  # fmt: skip
def test_what_does_nothing_does_not_count(tmp_path: Path, file: str, old: str, new: str) -> None:
    assert digest(tmp_path / "a", HOUSE) == digest(tmp_path / "b", changed(file, old, new))


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        pytest.param("dedup/words.py", {"import numpy as np": "import numpy", "np.": "numpy."}, id="alias of a package"),
        pytest.param("dedup/words.py", {"import numpy as np": "from numpy import zeros", "np.zeros": "zeros"}, id="name from a package"),
        pytest.param("dedup/rule.py", {"import others, split": "import others as o, split", "= {\"heavy\": others": "= {\"heavy\": o"}, id="alias of a module"),
        pytest.param("dedup/rule.py", {"import weighed\n": "import weighed as w\n", " weighed(1)": " w(1)"}, id="alias of a function"),
        pytest.param("dedup/rule.py", {"import dedup.numbers\n": "import dedup.numbers as n\n", "dedup.numbers.weighed(2)": "n.weighed(2)"}, id="whole module under an alias"),
        pytest.param("dedup/rule.py", {"dedup.numbers.weighed(2)": "weighed(2)"}, id="function by module or by name"),
        pytest.param("dedup/rule.py", {"import is_even": "import is_even as even", "(3)), is_even": "(3)), even"}, id="alias of an import in a function"),
        pytest.param("dedup/rule.py", {"from dedup import others, split": "from dedup import others\nfrom dedup.words import split"}, id="past a re-export"),
        pytest.param("dedup/__init__.py", {"import split": "import split as cut, split"}, id="another re-export"),
    ],
)  # fmt: skip
def test_how_a_name_was_imported_does_not_count(
    tmp_path: Path, file: str, changes: dict[str, str]
) -> None:
    text = HOUSE[file]
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    assert digest(tmp_path / "a", HOUSE) == digest(tmp_path / "b", {**HOUSE, file: text})


def test_a_function_moved_to_a_new_module_keeps_every_digest(tmp_path: Path) -> None:
    """Both ways: with its private callee, and from a module that keeps another of that name."""
    numbers = "def _weight(value):\n    return value + 1\n\n\ndef weighed(value):\n    return _weight(value)\n"
    moved = {
        **HOUSE,
        "dedup/numbers.py": "",
        "dedup/deep/__init__.py": "",
        "dedup/deep/weights.py": numbers,
        "dedup/rule.py": HOUSE["dedup/rule.py"].replace("dedup.numbers", "dedup.deep.weights"),
    }
    assert digest(tmp_path / "a", HOUSE) == digest(tmp_path / "b", moved)


def test_a_module_split_in_two_keeps_every_digest(tmp_path: Path) -> None:
    private, rest = HOUSE["dedup/others.py"].split("\n\ndef heavier", 1)
    split = {
        **HOUSE,
        "dedup/apart.py": private,
        "dedup/others.py": f"from dedup.apart import _weight as weight_of\n\n\ndef heavier{rest}".replace(
            "return _weight", "return weight_of"
        ),
    }
    assert digest(tmp_path / "a", HOUSE) == digest(tmp_path / "b", split)


def test_a_circle_split_over_two_modules_keeps_its_digest(tmp_path: Path) -> None:
    before, odd = HOUSE["dedup/others.py"].split("def is_odd", 1)
    apart = {
        **HOUSE,
        "dedup/others.py": f"from dedup import odd\n\n\n{before}".replace("is_odd(", "odd.is_odd("),
        "dedup/odd.py": f"from dedup.others import is_even\n\n\ndef is_odd{odd}",
    }
    assert digest(tmp_path / "a", HOUSE) == digest(tmp_path / "b", apart)


@pytest.mark.parametrize("name", ["is_even", "is_odd"])
def test_every_member_of_a_circle_notices_a_change_of_any(tmp_path: Path, name: str) -> None:
    root = Definition("dedup.others", name)
    seen = [digest(tmp_path / "a", HOUSE, root)]
    for number, (old, new) in enumerate([("value == 0", "value == 4"), ("value != 0", "value")]):
        files = changed("dedup/others.py", old, new)
        seen.append(digest(tmp_path / str(number), files, root))
    assert len(set(seen)) == 3


def test_the_moved_rule_itself_keeps_its_digest(tmp_path: Path) -> None:
    moved = {**HOUSE, "dedup/rule.py": "", "dedup/other_place.py": HOUSE["dedup/rule.py"]}
    there = digest(tmp_path / "b", moved, Definition("dedup.other_place", "Rule"))
    assert digest(tmp_path / "a", HOUSE) == there


def test_private_functions_of_one_name_are_told_apart(tmp_path: Path) -> None:
    swapped = {
        **HOUSE,
        "dedup/numbers.py": HOUSE["dedup/numbers.py"].replace("value + 1", "value * 2"),
        "dedup/others.py": HOUSE["dedup/others.py"].replace("value * 2", "value + 1"),
    }
    seen = {
        digest(tmp_path / str(number), files, Definition(module, name))
        for number, files in enumerate((HOUSE, swapped))
        for module, name in (("dedup.numbers", "_weight"), ("dedup.others", "_weight"))
    }
    assert len(seen) == 2
    assert digest(tmp_path / "a", HOUSE) != digest(tmp_path / "b", swapped)


def test_a_local_name_hides_one_of_the_house(tmp_path: Path) -> None:
    """Arguments, targets, comprehensions and names of a class are no names of the module."""
    text = """def hidden():
    return 1


def root(hidden):
    for LARGE in hidden:
        pass
    return [hidden for hidden in range(3)], LARGE, (lambda hidden: hidden)


class Kept:
    hidden = 2
    seen = hidden

    def asked(self):
        return {}
"""
    files = {"dedup/__init__.py": "", "dedup/rule.py": text + "\n\nLARGE = 2\n"}
    other = {**files, "dedup/rule.py": files["dedup/rule.py"].replace("return 1", "return 2")}
    for name in ("root", "Kept"):
        root = Definition("dedup.rule", name)
        assert digest(tmp_path / "a", files, root) == digest(tmp_path / "b", other, root)
    asking = {**other, "dedup/rule.py": other["dedup/rule.py"].replace("{}", "{hidden}")}
    same = {**files, "dedup/rule.py": files["dedup/rule.py"].replace("{}", "{hidden}")}
    root = Definition("dedup.rule", "Kept")
    assert digest(tmp_path / "a", asking, root) != digest(tmp_path / "b", same, root)


def test_a_module_passed_on_counts_whole(tmp_path: Path) -> None:
    files = {
        "dedup/__init__.py": "",
        "dedup/table.py": "ONE = 1\n\n\ndef two():\n    return 2\n",
        "dedup/rule.py": "from dedup import table\n\n\ndef Rule():\n    return vars(table)\n",
    }
    other = {**files, "dedup/table.py": files["dedup/table.py"].replace("return 2", "return 3")}
    assert digest(tmp_path / "a", files) != digest(tmp_path / "b", other)


def test_an_optional_import_counts_with_its_fallback(tmp_path: Path) -> None:
    text = "try:\n    import fast\nexcept ImportError:\n    fast = None\n\n\ndef Rule():\n    return fast\n"
    files = {"dedup/__init__.py": "", "dedup/rule.py": text}
    other = {**files, "dedup/rule.py": text.replace("fast = None", "fast = 1")}
    assert digest(tmp_path / "a", files) != digest(tmp_path / "b", other)


def test_a_definition_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        digest(tmp_path, HOUSE, Definition("dedup.rule", "Gone"))
    with pytest.raises(KeyError):
        digest(tmp_path, HOUSE, Definition("dedup.gone", "Rule"))
