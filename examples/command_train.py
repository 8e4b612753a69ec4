"""A training program that knows nothing of scalelaw: options in, a line of JSON for every report out. See command.toml.

Any program in any language can be tuned like this; here it is a linear model in plain Python.
"""

import argparse
import json
import random

INPUTS = 32


def example(source):
    """A target that the first of the inputs tell most of."""
    x = [source.gauss(0, 1) for _ in range(INPUTS)]
    return x, sum(value / (place + 1) for place, value in enumerate(x)) + source.gauss(0, 0.1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    source = random.Random(asked.seed)
    weights = [0.0] * asked.width  # a narrow model sees the first inputs only
    mean = 0.0
    for step in range(1, asked.steps + 1):
        x, y = example(source)
        error = sum(w * value for w, value in zip(weights, x, strict=False)) - y
        weights = [w - asked.lr * error * value for w, value in zip(weights, x, strict=False)]
        mean += error * error / 10
        if step % 10 == 0:
            print(json.dumps({"step": step, "loss": mean}))
            mean = 0.0
    held_out = random.Random(12345)
    tried = [example(held_out) for _ in range(300)]
    losses = [(sum(w * value for w, value in zip(weights, x, strict=False)) - y) ** 2 for x, y in tried]
    print(json.dumps({"loss": sum(losses) / len(losses), "parameters": asked.width, "final": True}))


if __name__ == "__main__":
    main()
