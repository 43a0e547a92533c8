"""DeepSpeed builds C++ on CPUs at first use unless it is kept from it; where there is no compiler it must work all the same."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from tests.distributed.tiny_training import make_engine, train
from raykd.trainers.context import local_context

with local_context():
    for kind in ("deepspeed-zero0", "deepspeed-zero1", "deepspeed-zero2", "deepspeed-zero3"):
        for precision in ("fp32", "bf16"):
            engine = make_engine(kind, precision=precision)
            train(engine, 0, 2)
            list(engine.state())
            engine.close()
"""


def test_deepspeed_trains_without_a_compiler_and_without_a_word(tmp_path: Path) -> None:
    extensions, empty, programs = (tmp_path / name for name in ("extensions", "bin", "tmp"))
    for folder in (extensions, empty, programs):
        folder.mkdir()
    environment = {
        name: value for name, value in os.environ.items() if name not in {"CC", "CXX", "DS_ACCELERATOR", "LOCAL_RANK"}
    }
    environment |= {
        "PATH": str(empty),  # no g++, no ninja
        "TORCH_EXTENSIONS_DIR": str(extensions),
        "TMPDIR": str(programs),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "distributed")]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""  # its warnings are about things that no user of raykd can change
    assert list(extensions.rglob("*")) == []
    assert list(programs.rglob("*.c*")) == []
