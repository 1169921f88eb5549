"""Inject faults drawn at random and print what came of them: ``python -m tests.faults --faults 1000 --seed 1``."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "kernel"))


def main() -> int:
    import numpy as np

    from tests.faults.injection import draw, inject
    from tests.faults.study_runs import set_stage

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no further run after so many")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        stage = set_stage(Path(folder))
        tally = inject(stage, *draw(args.faults, rng), rng, args.minutes)
        print(tally.table())
        for name, message in tally.wrong:
            print(f"\n{name}: {message}", flush=True)
        stage.starter.close()
    return bool(tally.wrong)


if __name__ == "__main__":
    sys.exit(main())
