"""Runs the example against a real server, and proves that the guide shows the code that runs: check.py PROGRAM."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GUIDE = ROOT / "docs" / "guide" / "other-languages.md"
EXPECTED = """\
{"role": "user", "content": "Which city has the Golden Gate Bridge?"}
{"role": "assistant", "content": "San Francisco."}
{"role": "user", "content": "Which state is it in?"}
turn 1 has 2 items
turn 2 has 1 items
refused: session_id is required: not blank (ERROR_REASON_FIELD_REQUIRED)
"""

sys.path.insert(0, str(ROOT))
from tests.support.server_process import serving  # noqa: E402 - the path is known only now

blocks = re.findall(r"(?s)```cpp\n(.*?)```", GUIDE.read_text())
source = (HERE / "example.cc").read_text()
if not blocks or not all(block in source for block in blocks):
    sys.exit(f"{GUIDE.name} shows C++ that is not in example.cc")
with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
    told = subprocess.run([sys.argv[1], server.address], capture_output=True, text=True, check=True, timeout=60).stdout
if told != EXPECTED:
    sys.exit(f"the example told:\n{told}and not:\n{EXPECTED}")
print("1 passed, 0 failed")
