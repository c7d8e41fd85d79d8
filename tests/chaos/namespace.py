"""Processes that are a machine of their own as far as process ids tell: a PID namespace."""

from __future__ import annotations

import shutil
import subprocess

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")  # words before a command; they need root


def namespaces_allowed() -> bool:
    return bool(shutil.which("unshare")) and not subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode
