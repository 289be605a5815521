"""Keeps libraries from reporting home: the scripts open no connection and write nothing into the home folder.

`disable_telemetry` is called when the package is imported, before any of these libraries can be:
  OpenVINO reports each import to an analytics service and stores a client number in ~/intel; only a module
  `openvino_telemetry` does that, and OpenVINO brings a stub for machines without it.
  ONNX Runtime (since 1.29) stores a device number in ~/.cache/Microsoft and uploads events about sessions.
matplotlib reports nothing, but keeps a list of fonts in the home folder: see `matplotlib_cache_in_tmp`.
"""

import atexit
import os
import shutil
import sys
import tempfile


def disable_telemetry() -> None:
    """Disables the reports of OpenVINO and ONNX Runtime, in this process and in those that it starts."""
    sys.modules["openvino_telemetry"] = None  # makes its import fail, so that OpenVINO takes its stub
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def matplotlib_cache_in_tmp() -> None:
    """Call it before matplotlib is imported. Its cache is then in a temporary folder, which the process removes at
    its end, unless the user has chosen one (MPLCONFIGDIR)."""
    if "MPLCONFIGDIR" not in os.environ:
        os.environ["MPLCONFIGDIR"] = folder = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
