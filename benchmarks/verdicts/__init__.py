"""Verdicts and warnings: how often they speak where they should, and where they should not."""
