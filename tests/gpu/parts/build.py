"""The demo's whole build by local processes, from meshes to shards, with every stage that can use the GPU on it."""

from __future__ import annotations

import json
import statistics
import subprocess
import time

import pyarrow.parquet as parquet

from tests.gpu.part import Part, module, read_arguments

_TOY = ["--corpus.count", "3", "--render.size", "32", "--render.views", "6"]
_TOY += ["--fit.steps", "20", "--fit.gaussians", "200"]


def main(part: Part) -> None:
    run = part.scratch / "demo"
    on_gpu = [] if part.toy else ["--fit.engine", "gsplat", "--embed.device", "gpu", "--caption.device", "gpu"]
    begun = time.perf_counter()
    command = module("pipeline", "build", "demo", "--run", run, "--engine", "local", *(_TOY if part.toy else on_gpu))
    code = subprocess.run(command).returncode
    part.figures.put(build_seconds=time.perf_counter() - begun, exit_code=code)
    index = json.loads((run / "dataset" / "index.json").read_text())
    table = [
        parquet.read_table(path, columns=["psnr"]) for path in sorted((run / "dataset" / "data").glob("*.parquet"))
    ]
    psnrs = [psnr for shard in table for psnr in shard["psnr"].to_pylist() if psnr is not None]
    part.figures.put(triplets=sum(index["rows"].values()), psnr=statistics.median(psnrs))
    if code:
        raise SystemExit(f"the build ended with exit code {code}")


if __name__ == "__main__":
    main(read_arguments())
