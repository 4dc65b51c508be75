"""Row 10: what starting and being idle cost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from time import perf_counter

from turntree.errors import NotFound, Unavailable
from turntree.remote import RemoteStore

from benchmarks.contestants import Bench
from benchmarks.measure import percentile
from benchmarks.processes import LOOPBACK, environment, free_port, resident_mb, running
from benchmarks.report import Report

_IMPORT = "from time import perf_counter; start = perf_counter(); import turntree; print(perf_counter() - start)"
_POLL_S = 0.005


async def start_and_idle(bench: Bench, report: Report) -> None:
    """Row 10. The first round warms the disk and the compiled modules, and is not counted."""
    starts, imports, idle = [], [], []
    for number in range(-1, bench.either(7, 15)):
        folder = bench.folder / f"row10-{number}"
        folder.mkdir()
        port = free_port()
        address = f"{LOOPBACK}:{port}"
        arguments = ["-m", "turntree_server", "serve", "--db", str(folder / "new.db"), "--listen", address]
        begin = perf_counter()
        with running([sys.executable, *arguments], folder) as process:
            await _first_answer(port)
            started = perf_counter() - begin
            await asyncio.sleep(0.2)
            resident = resident_mb(process.pid)
        imported = _import_s()
        if number >= 0:
            starts.append(started)
            idle.append(resident)
            imports.append(imported)
    report.measured(10, "turntree serve to first answer, new file", "server", starts)
    report.measured(10, "import turntree in a fresh process", "client", imports)
    report.at_most(10, "turntree serve to first answer", percentile(starts, 50), 1.0, "s")
    report.at_most(10, "import turntree", percentile(imports, 50), 0.4, "s")
    report.at_most(10, "idle server memory", percentile(idle, 50), 80, "MiB")


def _import_s() -> float:
    return float(subprocess.check_output([sys.executable, "-c", _IMPORT], env=environment(), text=True))


async def _first_answer(port: int) -> None:
    """Ask until there is an answer; that the session does not exist is one."""
    while True:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(_POLL_S)
        else:
            writer.close()
            break
    async with RemoteStore(f"{LOOPBACK}:{port}") as store:
        try:
            await store.get_session("nobody")
        except NotFound:
            return
        except Unavailable as error:
            raise RuntimeError("the server listens and does not answer") from error
