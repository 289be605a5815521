"""Runs a script of sd/ with networks of a size for tests: run_with_small_networks.py train_sd --epochs 1 ..."""

import importlib
import sys

from dream.common.errors import run_script
from training_helpers import small_networks

with small_networks():
    script = importlib.import_module(sys.argv[1])
    run_script(lambda: script.main(script.parse_args(sys.argv[2:])), can_resume=True)
