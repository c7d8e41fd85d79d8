"""Writes one figure, starts a child that ignores a polite end, and never ends by itself."""

import subprocess
import sys
import time

from tests.gpu.part import read_arguments

part = read_arguments()
program = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
assert child.stdout is not None
child.stdout.readline()
(part.kit / "child").write_text(str(child.pid))
part.figures.put(first=1)
time.sleep(600)
