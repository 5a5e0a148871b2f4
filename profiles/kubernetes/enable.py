"""Puts the executor beside this file on the path of the environment that runs this.

Only where the released executor is installed: Snakemake imports every one that it finds.
"""

import importlib.util
import sysconfig
from pathlib import Path

if importlib.util.find_spec("snakemake_executor_plugin_kubernetes"):
    place = Path(sysconfig.get_path("purelib")) / "ratchet-executors.pth"
    place.write_text(f"{Path(__file__).resolve().parent / 'executors'}\n")
