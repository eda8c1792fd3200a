"""The readers' environments: one of Python for each, and llama.cpp built from its source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import xxhash

HERE = Path(__file__).resolve().parent
TORCH = "torch==2.13.0"
LLAMA_CPP_PYTHON = "0.3.36"
BUILD = (
    "-GNinja", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON",
    # the instructions of the building machine's processor are not those of every machine
    "-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON", "-DGGML_FMA=ON", "-DGGML_F16C=ON", "-DGGML_BMI2=ON",
    "-DGGML_OPENMP=OFF", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_COMMON=OFF", "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_TOOLS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF",
)  # fmt: skip


def environment(work: Path, reader: str) -> Path:
    """The Python of a reader, installed when it is not there or its requirements changed."""
    requirements = HERE / f"requirements-{reader}.txt"
    digest = xxhash.xxh3_64_hexdigest(
        TORCH.encode() + requirements.read_bytes() + sys.version.encode()
    )
    folder = (work / f"{reader}-{digest}").resolve()
    if not (folder / "complete").exists():
        pip = [str(folder / "bin" / "pip"), "--quiet", "--disable-pip-version-check", "install"]
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        (folder / "constraints.txt").write_text(TORCH + "\n")
        _run([*pip, TORCH])
        constraints = ["--constraint", str(folder / "constraints.txt")]
        _run([*pip, *constraints, "--requirement", str(requirements)])
        (folder / "complete").touch()
    return folder / "bin" / "python"


@dataclass(frozen=True)
class LlamaCpp:
    """llama-cpp-python's ``source``, which holds llama.cpp's too, and the folder of the built
    ``library``.
    """

    source: Path
    library: Path

    @property
    def converter(self) -> Path:
        """The folder of llama.cpp, where ``convert_hf_to_gguf.py`` lies."""
        return self.source / "vendor" / "llama.cpp"


def llama_cpp(work: Path, python: Path, jobs: int) -> LlamaCpp:
    """llama.cpp, downloaded and built when it is not there: some minutes on a core."""
    folder = (work / f"llama-cpp-python-{LLAMA_CPP_PYTHON}").resolve()
    name = f"llama_cpp_python-{LLAMA_CPP_PYTHON}"
    built = LlamaCpp(folder / name, folder / "build" / "bin")
    if (folder / "complete").exists():
        return built
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{name}.tar.gz"
    if not archive.exists():
        wanted = ["--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(folder)]
        _run(
            [str(python), "-m", "pip", "download", *wanted, f"llama-cpp-python=={LLAMA_CPP_PYTHON}"]
        )
    shutil.rmtree(built.source, ignore_errors=True)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    cmake, build = str(python.parent / "cmake"), str(folder / "build")
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    _run([cmake, "-S", str(built.converter), "-B", build, *BUILD], PATH=path)
    target = ["--target", "llama", "--parallel", str(jobs)]
    _run([cmake, "--build", build, *target], PATH=path)
    (folder / "complete").touch()
    return built


def _run(command: list[str], **environment: str) -> None:
    """Without this project on the path."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, env={**clean, **environment}, stdout=sys.stderr)
