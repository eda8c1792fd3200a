"""Only the process that starts a Dask cluster can use it: ports, certificates, other users."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import UserError

distributed = pytest.importorskip("distributed")

from pipelines.executors.dask import DaskExecutor  # noqa: E402
from pipelines.executors.private_cluster import PrivateCluster  # noqa: E402

NOBODY = 65534
LISTENS = "0A"

# what an outsider can say to a port, and how many bytes come back; standard library alone
STRANGER = """
import encodings.idna, os, socket, ssl, sys

def answer(port, wrap):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            with wrap(plain) as link:
                link.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n" + bytes(64))
                return len(link.recv(1))
    except (ssl.SSLError, ConnectionError, TimeoutError):
        return 0

unasked = ssl.create_default_context()
unasked.check_hostname, unasked.verify_mode = False, ssl.CERT_NONE
known = ssl.create_default_context()
known.check_hostname, known.verify_mode = False, ssl.CERT_NONE
if sys.argv[2]:
    known.load_cert_chain(sys.argv[2])
if user := int(sys.argv[3]):  # what the interpreter needs is loaded: it may lie out of reach
    os.setgroups([]), os.setgid(user), os.setuid(user)
print(os.getuid())
for port in map(int, sys.argv[1].split(",")):
    print(answer(port, lambda link: link), answer(port, unasked.wrap_socket),
          answer(port, known.wrap_socket))
"""


def refusals(
    ports: list[int], certificate: Path | None = None, user: int = 0
) -> list[tuple[int, ...]]:
    """Bytes that each port answers: in the clear, under TLS without a certificate, with one."""
    said = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c", STRANGER),
            *(",".join(map(str, ports)), str(certificate or ""), str(user)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    who, *lines = said.stdout.splitlines()
    assert int(who) == (user or os.getuid())
    return [tuple(map(int, line.split())) for line in lines]


def listening(processes: list[int]) -> list[tuple[str, int]]:
    """The (address, port) of all TCP sockets that these processes listen at."""
    held = set()
    for process in processes:
        for handle in Path(f"/proc/{process}/fd").iterdir():
            try:
                target = os.readlink(handle)
            except OSError:
                continue
            if target.startswith("socket:["):
                held.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and fields[9] in held:
                host, port = fields[1].split(":")
                raw = b"".join(
                    bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)
                )
                family = socket.AF_INET if table == "tcp" else socket.AF_INET6
                found.append((socket.inet_ntop(family, raw), int(port, 16)))
    return sorted(found)


@pytest.fixture(scope="module")
def executor() -> Iterator[DaskExecutor]:
    before = set(listening([os.getpid()]))
    executor = DaskExecutor(workers=2)
    executor.ports = [  # type: ignore[attr-defined]
        place
        for place in listening([os.getpid(), *executor._client.run(os.getpid).values()])
        if place not in before
    ]
    yield executor
    executor.close()


@pytest.fixture
def ports(executor: DaskExecutor) -> list[int]:
    return [port for _, port in executor.ports]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def key(executor: DaskExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert executor._cluster is not None
    return pem(executor._cluster.security, tmp_path_factory.mktemp("own"))


def pem(security: Any, folder: Path) -> Path:
    file = folder / "both.pem"
    file.write_text(security.tls_client_cert + security.tls_client_key)
    file.chmod(0o644)
    return file


@pytest.mark.slow
def test_a_scheduler_two_workers_and_their_nannies_listen_and_nothing_else_does(
    executor: DaskExecutor,
) -> None:
    places = executor.ports  # type: ignore[attr-defined]
    assert len(places) == 5, "a dashboard that nobody asked for is a sixth port"
    assert {host for host, _ in places} == {"127.0.0.1"}
    assert executor.map(abs, [-1, 2], lambda index, result: None) == [1, 2]


@pytest.mark.slow
def test_every_port_answers_the_run_and_nobody_without_its_certificate(
    ports: list[int], key: Path, tmp_path: Path
) -> None:
    other = pem(distributed.Security.temporary(), tmp_path)
    assert refusals(ports, other) == [(0, 0, 0)] * len(ports)
    assert refusals(ports, key) == [(0, 0, 1)] * len(ports), "the run itself is answered"


@pytest.mark.slow
def test_another_user_of_the_machine_reaches_neither_scheduler_nor_workers(
    executor: DaskExecutor, ports: list[int]
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can start a process as another user")
    assert refusals(ports, user=NOBODY) == [(0, 0, 0)] * len(ports)
    assert executor.map(abs, [-3], lambda index, result: None) == [3], "still there for the run"


@pytest.mark.slow
def test_workers_keep_their_files_in_a_folder_nobody_else_can_enter(executor: DaskExecutor) -> None:
    assert executor._cluster is not None
    folder = Path(executor._cluster._folder.name)
    for place in executor._client.run(lambda dask_worker: dask_worker.local_directory).values():
        assert Path(place).is_relative_to(folder)
    held = folder.stat()
    assert (held.st_uid, stat.S_IMODE(held.st_mode)) == (os.getuid(), 0o700)


@pytest.mark.slow
def test_a_cluster_leaves_no_folder_and_no_port(tmp_path: Path) -> None:
    cluster = PrivateCluster(1)
    folder = Path(cluster._folder.name)
    assert folder.exists()
    port = int(cluster.cluster.scheduler_address.rsplit(":", 1)[1])
    cluster.close()
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


@pytest.fixture(scope="module")
def tls_scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A scheduler and a worker started from the command line with certificates, as documented."""
    folder = tmp_path_factory.mktemp("certificates")
    made = distributed.Security.temporary()
    (folder / "ca.pem").write_text(made.tls_ca_file)
    (folder / "cert.pem").write_text(made.tls_client_cert)
    (folder / "key.pem").write_text(made.tls_client_key)
    certificates = [
        *("--tls-ca-file", folder / "ca.pem", "--tls-cert", folder / "cert.pem"),
        *("--tls-key", folder / "key.pem", "--no-dashboard", "--host", "127.0.0.1"),
    ]
    dask = [sys.executable, "-m", "dask"]
    place = folder / "scheduler.json"
    started = [
        subprocess.Popen(
            [
                *(*dask, "scheduler", "--protocol", "tls", "--port", "0"),
                *("--scheduler-file", place, *certificates),
            ],
            stderr=subprocess.DEVNULL,
        ),
        subprocess.Popen(
            [
                *(*dask, "worker", "--scheduler-file", place, "--nthreads", "1"),
                *("--local-directory", folder, *certificates),
            ],
            stderr=subprocess.DEVNULL,
        ),
    ]
    try:
        with distributed.Client(scheduler_file=str(place), security=made, timeout="60s") as client:
            client.wait_for_workers(1, timeout=60)
            address = client.scheduler.address
        yield address, folder
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait()


def configured(folder: Path, key: str = "key.pem") -> dict[str, str]:
    return {
        "distributed.comm.tls.ca-file": str(folder / "ca.pem"),
        "distributed.comm.tls.client.cert": str(folder / "cert.pem"),
        "distributed.comm.tls.client.key": str(folder / key),
    }


@pytest.mark.slow
def test_a_scheduler_with_certificates_is_used_with_those_of_dasks_configuration(
    tls_scheduler: tuple[str, Path],
) -> None:
    import dask

    address, folder = tls_scheduler
    assert address.startswith("tls://")
    with dask.config.set(configured(folder)):
        executor = DaskExecutor(address=address)
        try:
            assert executor.map(abs, [-1, 2], lambda index, result: None) == [1, 2]
        finally:
            executor.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["none", "foreign", "missing", "no key", "in the clear"])
def test_a_scheduler_with_certificates_refuses_others_in_one_line(
    tls_scheduler: tuple[str, Path], how: str, tmp_path: Path
) -> None:
    import dask

    address, folder = tls_scheduler
    settings = configured(folder)
    if how == "none":
        settings = {}
    elif how == "foreign":
        made = distributed.Security.temporary()
        for name, text in (
            ("ca", made.tls_ca_file),
            ("cert", made.tls_client_cert),
            ("key", made.tls_client_key),
        ):
            (tmp_path / f"{name}.pem").write_text(text)
        settings = configured(tmp_path)
    elif how == "missing":
        settings = configured(folder, "nowhere.pem")
    elif how == "no key":
        settings = configured(folder, "cert.pem")
    else:
        address = address.replace("tls://", "tcp://")
    with dask.config.set(settings), pytest.raises(UserError) as refused:
        DaskExecutor(address=address)
    assert refused.value.field == "scheduler"
    assert refused.value.fix is not None
    assert "tls" in refused.value.fix.lower()
