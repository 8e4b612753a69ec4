"""Watching runs while they train: false alarms and power, on our own trainer's ladder and on simulated ones. One thread."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
