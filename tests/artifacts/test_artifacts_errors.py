"""Errors: an address that may hold any name, moved in one way, from one process to another."""

from __future__ import annotations

import pickle

import pytest

from artifacts.errors import Address, Parameter, Place, Setting, UserError
from artifacts.paths import DiskFullError


def test_a_name_with_dots_stays_whole_in_an_address() -> None:
    error = UserError("wrong", field=("mixture", "phases", "v1.2", "weights", "web.en"))
    assert error.address == ("mixture", "phases", "v1.2", "weights", "web.en")
    assert error.field == "mixture.phases.v1.2.weights.web.en"
    assert UserError("wrong", field="parts.bytes").address == ("parts", "bytes")
    assert UserError("wrong", field=("sources", 2, "paths")).field == "sources[2].paths"
    assert UserError("wrong").field is None


def test_an_error_is_said_of_the_place_that_the_user_knows() -> None:
    error = UserError(
        ("more than ", Setting("share", 0.5)),
        parameter="share",
        fix=("give ", Setting("share", 0.9), ", or leave ", Setting("share"), " out"),
    )
    assert error.message == "more than share=0.5"
    moved = error.relocated(lambda address: ("--most",) if address == ("share",) else address)
    assert (moved.field, moved.message) == ("--most", "more than --most 0.5")
    assert moved.fix == "give --most 0.9, or leave --most out"
    recipe = error.relocated(lambda address: Place(("stages", 1, "share"), "r.yaml", 7))
    assert str(recipe).splitlines() == [
        "r.yaml:7: more than share: 0.5",
        "  field:   stages[1].share",
        "  fix:     give share: 0.9, or leave stages[1].share out",
    ]


def test_a_switch_is_given_by_its_option_alone() -> None:
    error = UserError("wrong", fix=("repeat it with ", Setting("cascade", True)))
    assert error.fix == "repeat it with cascade=True"
    moved = error.relocated(lambda address: ("--cascade",) if address else address)
    assert moved.fix == "repeat it with --cascade"


def test_an_error_about_another_file_goes_on_naming_it() -> None:
    error = UserError("damaged", file="data.jsonl", field="text")
    placed = error.relocated(lambda address: Place(("sources", 0, *address), "r.yaml", 3))
    assert (placed.file, placed.line) == ("r.yaml", 3)
    assert placed.message == "damaged (data.jsonl)"
    assert error.relocated(lambda address: ("source", *address)).file == "data.jsonl"


def test_a_note_of_the_place_follows_the_message() -> None:
    note = ("given with ", Setting("overrides", "a.b=1"))
    placed = UserError("wrong").relocated(lambda address: Place(("a", "b"), "r.yaml", None, note))
    assert placed.message == "wrong (given with overrides=a.b=1)"

    def to_options(address: Address) -> Address:
        return ("--set",) if address == (Parameter("overrides"),) else address

    assert placed.relocated(to_options).message == "wrong (given with --set a.b=1)"


@pytest.mark.parametrize("kind", [UserError, DiskFullError])
def test_an_error_from_a_worker_carries_its_address(kind: type[UserError]) -> None:
    error = kind(
        "wrong", parameter=("change", "v1.2"), found=3, fix=("leave ", Setting("change"), " out")
    )
    here = pickle.loads(pickle.dumps(error))
    assert type(here) is kind
    assert here.address == ("change", "v1.2")
    assert isinstance(here.address[0], Parameter)
    moved = here.relocated(lambda address: ("--change", *address[1:]))
    assert (moved.field, moved.fix) == ("--change v1.2", "leave --change out")


def test_another_wording_leaves_the_place() -> None:
    error = UserError("wrong", file="x", line=2, field=("a", 1), found=3)
    changed = error.changed(message="not right", fix="mend it")
    assert (changed.file, changed.line, changed.address, changed.found) == ("x", 2, ("a", 1), 3)
    assert (changed.message, changed.fix) == ("not right", "mend it")
