"""A PyTorch training loop that scalelaw tunes: `scalelaw run pytorch.toml`, then `scalelaw optimum study.db`.

Replace `batch`, the network and the optimiser by yours; what matters to scalelaw are the lines with `spec` and `report`.
"""

import torch
from torch import nn

INPUTS = 16


def batch(random, size):
    """A teacher network with fixed weights on random inputs."""
    teacher = torch.Generator().manual_seed(0)
    first, second = torch.randn(INPUTS, 32, generator=teacher) / 4, torch.randn(32, generator=teacher) / 6
    x = torch.randn(size, INPUTS, generator=random)
    return x, torch.tanh(x @ first) @ second


def train(spec, report):
    torch.manual_seed(spec.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    random = torch.Generator().manual_seed(spec.seed)
    width = spec["width"]
    network = nn.Sequential(nn.Linear(INPUTS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
    network.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=spec["learning_rate"])
    for step in range(1, spec["steps"] + 1):
        x, y = (each.to(device) for each in batch(random, spec["batch_size"]))
        loss = nn.functional.mse_loss(network(x)[:, 0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step == 1 or step % 10 == 0:
            report(step, loss)  # may stop the run here: it raises an exception that must pass
    with torch.no_grad():
        x, y = (each.to(device) for each in batch(torch.Generator().manual_seed(12345), 2000))
        held_out = nn.functional.mse_loss(network(x)[:, 0], y)
    return {"loss": held_out, "parameters": sum(each.numel() for each in network.parameters())}
