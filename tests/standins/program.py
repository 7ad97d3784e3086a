"""A stand-in as a program: `python program.py nsys ARGUMENTS`."""

import importlib
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[2])
tool, *arguments = sys.argv[1:]
sys.exit(importlib.import_module(f"tests.standins.{tool}_standin").main(arguments))
