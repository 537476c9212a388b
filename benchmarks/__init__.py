"""Measurements, printed beside the bound or the peer. Never part of the tests.

One thread for every library: set here, because NumPy reads it when it is first imported.
"""

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
