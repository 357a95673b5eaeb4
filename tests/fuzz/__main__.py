"""Fuzzing of headers and pixels: `python tests/fuzz --seconds 120`. Another exit code than 0 is a finding.

Three quarters of the time go to atheris, which is led by the coverage of Python code (it cannot see into the
decoders, which come compiled, but feeds them all the same), in one process that ends with the first crash,
hang or hog. The rest goes to random damage in the daemon's own worker pool. A corpus that --corpus names is
begun with seeds, goes on from there the next time, and can be thrown away.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
FINDINGS = Path(tempfile.gettempdir()) / "scanlight-fuzz"
PARTS = {"guided": 0.75, "pooled": 0.25}
"""And their shares of the time."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python tests/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--corpus", type=Path, help="folder to go on from and to grow")
    parser.add_argument("--findings", type=Path, default=FINDINGS, help=f"default: {FINDINGS}")
    parser.add_argument("--seeds", type=Path, help="only write the seeds into this folder")
    parser.add_argument("--part", choices=PARTS, help="only this one")
    asked = parser.parse_args()
    if asked.seeds or asked.part:
        return here(asked)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = asked.corpus or Path(scratch) / "corpus"
        asked.findings.mkdir(exist_ok=True)
        for part, share in PARTS.items():
            words = ["--part", part, "--seconds", round(share * asked.seconds), "--corpus", corpus]
            words += ["--findings", asked.findings]
            # A process for each, since atheris ends its own.
            command = [sys.executable, HERE, *words]
            done = subprocess.run(map(str, command), check=False, env={**os.environ, "TMPDIR": scratch})
            if done.returncode:
                return done.returncode
    return 0


def here(asked: argparse.Namespace) -> int:
    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
    warnings.simplefilter("ignore")
    if asked.seeds:
        from fuzz import seeds

        seeds.write(asked.seeds)
    elif asked.part == "guided":
        from fuzz import guided

        guided.run(asked.corpus, asked.findings, asked.seconds)
    else:
        from fuzz import pooled

        return pooled.run(asked.corpus, asked.findings, asked.seconds, random.randrange(1 << 32))
    return 0


sys.exit(main())
