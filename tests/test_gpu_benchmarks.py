"""The GPU's benchmarks at toy sizes on a CPU: they run, their pages say what the results hold, and
they need torch, Triton and numpy alone.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from artifacts.floors import FLOORS
from benchmarks import make_performance_page, page_gpu
from benchmarks.gpu import (
    catalogue,
    check,
    hard_cases,
    kernels,
    make_readme,
    parity,
    questions,
    run,
    timing,
    train,
)
from benchmarks.gpu.operations import OPERATIONS, Draw
from benchmarks.gpu.session import Record, begin
from benchmarks.gpu.shapes import TINY

ALLOWED = ("torch", "triton", "numpy")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the result of every part at toy sizes, each of which has to end well."""
    folder = tmp_path_factory.mktemp("results")
    options = ["--device", "cpu", "--tiny", "--output", str(folder)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for part in (check, kernels, train, questions):
        assert part.main(options) == 0, part.__name__
    assert parity.main([*options, "--steps", "3", "--seeds", "1", "2"]) == 0
    torch.set_num_threads(threads)
    return folder


def result(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def as_of_a_gpu(folder: Path) -> dict[str, dict]:
    """The same results as if a GPU had given them at real sizes."""
    names = {"train_tiny": "train_2.4B"}
    found = {
        names.get(path.stem, path.stem): json.loads(path.read_text().replace(", tiny", ", 2.4B"))
        for path in folder.glob("*.json")
    }
    for one in found.values():
        one.update(tiny=False, machine={"device": "cuda", "name": "H200"}, measured="2026-01-02")
    return found


@pytest.mark.slow
def test_every_check_that_a_cpu_can_make_is_passed(measured: Path) -> None:
    found = result(measured, "check")
    assert found["failed"] == []
    assert not found["partial"]
    run_here = [
        name
        for name, one in found.items()
        if isinstance(one, dict) and one.get("ok") and not one.get("skipped")
    ]
    for operation in OPERATIONS:
        assert {
            f"{operation.name}, tiny, bf16",
            f"{operation.name}, tiny, fp32",
            f"{operation.name}, same bits twice",
        } <= set(run_here)
    assert sum("hard:" in name for name in run_here) == 2 * len(hard_cases.LOSSES)


@pytest.mark.slow
def test_every_kernel_is_timed_against_its_floor(measured: Path) -> None:
    found = result(measured, "kernels")["operations"]
    assert len(found) == len(OPERATIONS) + 4
    for name, one in found.items():
        assert "failed" not in one, name
        parts = [one[part] for part in page_gpu.PARTS if part in one]
        assert parts
        for part in parts:
            assert part["bytes"] > 0
            assert part["floor_us"] / part["microseconds"]["ours"]["median"] == pytest.approx(
                part["share_of_floor"]["ours"]
            )


@pytest.mark.slow
def test_a_step_is_timed_and_told_by_both_conventions(measured: Path) -> None:
    found = result(measured, "train_tiny")
    for kind in ("eager", "compiled"):
        assert found[kind]["tokens_per_second"] > 0
        assert 0 < found[kind]["mfu"]["causal"] < found[kind]["mfu"]["palm"] < 1


@pytest.mark.slow
def test_runs_in_fewer_bits_start_where_fp32_does(measured: Path) -> None:
    losses = result(measured, "parity")["losses"]
    assert set(losses) == {"fp32", "bf16", "float8"}
    for seed in ("1", "2"):
        starts = {name: curves[seed][0] for name, curves in losses.items()}
        assert all(math.isfinite(loss) for curves in losses.values() for loss in curves[seed])
        assert len(set(starts.values())) == 3
        assert max(starts.values()) - min(starts.values()) < 0.1


@pytest.mark.slow
def test_one_wrong_kernel_fails_the_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = next(one for one in OPERATIONS if one.name == "swiglu")
    broken = type(wrong)(**{**vars(wrong), "ours": lambda x: wrong.ours(x) * 1.001})
    monkeypatch.setattr(check, "OPERATIONS", [broken])
    monkeypatch.setattr(hard_cases, "LARGE", {})
    assert check.main(["--device", "cpu", "--tiny", "--output", str(tmp_path)]) == 1
    assert result(tmp_path, "check")["failed"] == ["swiglu, tiny, fp32"]


def test_a_sure_softmax_is_sure_and_an_offset_is_common() -> None:
    draw = Draw(torch.device("cpu"), torch.float32)
    hidden, head, targets, *_ = hard_cases.sure(TINY, draw)
    chances = (hidden @ head[: TINY.config.vocab_size].T).softmax(-1).gather(1, targets[:, None])
    assert chances.median() > 0.99
    hidden, head, *_ = hard_cases.common_offset(TINY, draw)
    logits = hidden @ head.T
    assert logits.min() > 40
    assert logits.std() < 2


def test_what_was_measured_stays_when_the_rest_fails(tmp_path: Path) -> None:
    record = Record(
        begin(None, arguments=["--device", "cpu", "--tiny", "--output", str(tmp_path)]), "half"
    )
    record["first"] = 1
    assert result(tmp_path, "half")["first"] == 1
    assert result(tmp_path, "half")["partial"]
    record.done()
    assert not result(tmp_path, "half")["partial"]


def test_variants_are_timed_in_turn(tmp_path: Path) -> None:
    order: list[str] = []
    session = begin(None, arguments=["--device", "cpu", "--tiny", "--output", str(tmp_path)])
    found = timing.interleaved(session, {name: lambda n=name: order.append(n) for name in "abc"})
    assert order == [*"abc", *"abc", *"bca"]
    assert set(found) == set("abc")


@pytest.mark.slow
def test_all_parts_are_run_within_nine_minutes_and_one_that_fails_or_hangs_stops_no_other(
    monkeypatch, tmp_path: Path
) -> None:
    assert sum(part.limit for part in run.PARTS) < 540
    assert {part.name for part in run.PARTS} == {"check", "kernels", "train", "parity", "questions"}
    short = (
        run.Part("questions", 1),
        run.Part("parity", 100, ("--steps", "1", "--seeds", "no")),
        run.Part("make_readme", 60),
    )
    monkeypatch.setattr(run, "PARTS", short)
    told = [
        run.run(
            begin(None, arguments=["--device", "cpu", "--tiny", "--output", str(tmp_path)]), part
        )["ended"]
        for part in short
    ]
    assert told[0] == "stopped after 1 s"
    assert told[2].startswith("exit code")  # it takes no --device


@pytest.mark.slow
def test_a_result_of_a_cpu_is_no_measurement(measured: Path) -> None:
    assert make_readme.read_results(measured) == {}
    lines = [
        line
        for line in make_readme.render({}).splitlines()
        if line.startswith("| ") and "| check |" not in line
    ]
    assert sum(make_readme.NEVER in line for line in lines) == len(catalogue.CHECKS)


@pytest.mark.slow
def test_the_page_tells_what_the_results_hold(measured: Path) -> None:
    page = make_readme.render(as_of_a_gpu(measured)).splitlines()
    table = {
        line.split(" | ")[0].removeprefix("| "): line for line in page if line.startswith("| ")
    }
    for one in catalogue.CHECKS:
        here = one.file != "train_1.2B" and one.name not in ("no waiting", "long tensors")
        assert ("2026-01-02, H200" in table[one.name]) == here, one.name
        assert (make_readme.NEVER in table[one.name]) != here, one.name
    assert "22 of 22" in table["numbers"]


@pytest.mark.slow
def test_a_failed_check_is_named_on_the_page(measured: Path) -> None:
    found = as_of_a_gpu(measured)
    found["check"]["swiglu, compiled"]["ok"] = False
    found["check"]["partial"] = True
    line = next(
        line for line in make_readme.render(found).splitlines() if line.startswith("| compiled")
    )
    assert "failed: swiglu, compiled" in line
    assert "did not end" in line


@pytest.mark.slow
def test_the_performance_page_has_the_figures_of_a_gpu(measured: Path) -> None:
    found = as_of_a_gpu(measured)
    page = "\n".join(page_gpu.gpu_section(found))
    assert f"{found['train_2.4B']['compiled']['tokens_per_second']:,.0f}" in page
    assert "| swiglu, 2.4B: backward |" in page
    assert "\n".join(page_gpu.gpu_section({})).count("Not yet measured.") == 2


def test_the_pages_are_those_of_the_results() -> None:
    gpu = make_readme.read_results(make_readme.RESULTS)
    assert make_readme.PAGE.read_text() == make_readme.render(gpu)
    performance = make_performance_page.render(
        make_performance_page.read_results(make_performance_page.RESULTS), gpu
    )
    assert make_performance_page.PAGE.read_text() == performance


@pytest.mark.slow
def test_model_kernels_and_benchmarks_need_torch_triton_and_numpy_alone(root: Path) -> None:
    """Every other installed package is out of reach while they are imported, but what those three
    require themselves.
    """
    code = f"""
        import importlib, importlib.abc, importlib.metadata as metadata, pathlib, re, sys
        allowed, waiting = set(), {list(ALLOWED)!r}
        while waiting:
            name = re.sub("[-_.]+", "-", waiting.pop()).lower()
            if name in allowed:
                continue
            allowed.add(name)
            try:
                wanted = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue
            waiting += [re.match(r"[A-Za-z0-9._-]+", one).group() for one in wanted if "extra ==" not in one]
        blocked = {{
            module
            for module, distributions in metadata.packages_distributions().items()
            if not any(re.sub("[-_.]+", "-", one).lower() in allowed for one in distributions)
        }} - {set(FLOORS)!r}

        class Out(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in blocked:
                    raise ModuleNotFoundError(f"{{name}} is out of reach", name=name)

        sys.meta_path.insert(0, Out())
        assert {{"pyarrow", "pydantic", "rich", "xxhash", "safetensors"}} <= blocked, "nothing is blocked"
        names = ["trainer.model.decoder", "trainer.optimizer.adamw", "trainer.costs.roofline"]
        for folder in ("trainer/kernels", "benchmarks/gpu"):
            names += [str(path.with_suffix("")).replace("/", ".") for path in sorted(pathlib.Path(folder).glob("[a-z]*.py"))]
        for name in names:
            importlib.import_module(name)
        print(len(names))
    """
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 25
