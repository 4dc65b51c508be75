"""A search for inputs that break what takes them, guided by the coverage of turntree's code: `make fuzz-inputs`.

`python -m tests.faults.guided` searches for each target of `fuzz_targets.py` in turn, TURNTREE_FUZZ_SECONDS each. It
ends with the first input that breaks one, and prints it. Inputs that found new ways through the code are kept in
`corpus/` with `--keep`, as few and as short as cover what all of them do; `make test` plays those again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.fuzz_targets import TARGETS, Target
from tests.faults.report import tallied
from tests.faults.rounds import FUZZ_S, new_seed

SIZE_MAX = 4_096
KEPT_BYTES_MAX = 400
"""Inputs that are longer are found again by a search, and are not kept."""
ABOUT = "# Inputs that each lead through the code in another way: the name, and the bytes in hexadecimal.\n"
INPUT_WITHIN_S = 60
ENDED_WITHIN_S = 300.0


def run(target: Target, *arguments: str | Path) -> str:
    """Let another process search, and return what it said."""
    command = [sys.executable, "-m", "tests.faults.guided_search", target.name, *map(str, arguments)]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=FUZZ_S + ENDED_WITHIN_S, check=False
    )
    said = ended.stdout.decode(errors="replace")
    assert ended.returncode == 0, f"{target.name}: {said[-8_000:]}"
    return said


def play(target: Target, folder: Path, seed: int, *, keep: bool) -> int:
    """Search for a while, beginning with what was kept, and return how many inputs were tried."""
    found, kept = folder / "found", folder / "kept"
    for each in (found, kept):
        each.mkdir()
    for number, (name, data) in enumerate(target.read_corpus()):
        (kept / f"{number}").write_bytes(target.pack(name, data))
    said = run(
        target,
        *(found, kept, f"-max_total_time={FUZZ_S:.0f}", f"-seed={seed % 2**31 or 1}", f"-max_len={SIZE_MAX}"),
        *(f"-artifact_prefix={folder}/", f"-timeout={INPUT_WITHIN_S}", "-print_final_stats=1", "-rss_limit_mb=4096"),
    )
    tried = re.search(r"stat::number_of_executed_units: *(\d+)", said)
    assert tried is not None, said[-8_000:]
    if keep:
        run(target, "-merge=1", kept, found)
        _keep(target, [file.read_bytes() for file in kept.iterdir()])
    return int(tried[1])


def _keep(target: Target, found: list[bytes]) -> None:
    """What was kept stays; what leads through the code in another way is added."""
    inputs = {*target.read_corpus(), *(target.unpack(packed) for packed in found if len(packed) <= KEPT_BYTES_MAX)}
    lines = [f"{name} {data.hex()}\n" for name, data in sorted(inputs)]
    target.corpus.write_text("".join([ABOUT, *lines]))


def main() -> None:
    """Search for each target, or for those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--keep", action="store_true", help="keep what was found in the corpus")
    arguments = parser.parse_args()
    for name in arguments.targets or TARGETS:
        seed = new_seed()
        what = f"inputs guided by coverage: {name.replace('_', ' ')}"
        with tallied(what, seed) as tally, tempfile.TemporaryDirectory() as folder:
            tally.rounds = play(TARGETS[name], Path(folder), seed, keep=arguments.keep)


if __name__ == "__main__":
    main()
