"""Replay: choose runs from a pool whose losses are known, as if each had to be paid for, and judge what they tell."""
