"""Lightning under scalelaw: `scalelaw run lightning.toml`, then `scalelaw optimum study.db`.

Replace `Network` and the data by yours; `ToScalelaw` can stay as it is.
"""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

INPUTS = 16


class ToScalelaw(lightning.Callback):
    """Tells scalelaw the loss of every tenth step."""

    def __init__(self, report):
        self.report = report

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 1 or trainer.global_step % 10 == 0:
            self.report(trainer.global_step, outputs["loss"])


class Network(lightning.LightningModule):
    def __init__(self, width, rate):
        super().__init__()
        self.rate = rate
        self.layers = nn.Sequential(nn.Linear(INPUTS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def training_step(self, batch, _):
        x, y = batch
        return nn.functional.mse_loss(self.layers(x)[:, 0], y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.rate)


def examples(seed, count):
    """A teacher network with fixed weights on random inputs."""
    teacher = torch.Generator().manual_seed(0)
    first, second = torch.randn(INPUTS, 32, generator=teacher) / 4, torch.randn(32, generator=teacher) / 6
    x = torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(seed))
    return x, torch.tanh(x @ first) @ second


def train(spec, report):
    lightning.seed_everything(spec.seed, verbose=False)
    network = Network(spec["width"], spec["learning_rate"])
    loader = DataLoader(TensorDataset(*examples(spec.seed + 1, spec["steps"] * spec["batch_size"])), spec["batch_size"])
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_steps=spec["steps"], callbacks=[ToScalelaw(report)], default_root_dir=report.folder, **quiet)
    trainer.fit(network, loader)
    with torch.no_grad():
        held_out = network.training_step([each.to(network.device) for each in examples(12345, 2000)], 0)
    return {"loss": held_out, "parameters": sum(each.numel() for each in network.parameters())}
