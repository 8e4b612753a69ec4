"""Bias and coverage of the approaches to compute-optimal allocation in worlds with a known optimum."""
