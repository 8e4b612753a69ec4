"""Hugging Face's Trainer under scalelaw: `scalelaw run hf_trainer.toml`, then `scalelaw optimum study.db`.

Replace the data and the model by yours; `ToScalelaw` can stay as it is.
"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

WORDS, CONTEXT = 64, 32


class ToScalelaw(TrainerCallback):
    """Tells scalelaw every loss that the Trainer logs."""

    def __init__(self, report):
        self.report = report

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in (logs or {}):
            self.report(state.global_step, logs["loss"], gradient_norm=logs.get("grad_norm", float("nan")))


def sentences(seed, count):
    """A random language: each word is one of four that may follow the last."""
    after = torch.randint(WORDS, (WORDS, 4), generator=torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(seed)
    words = [torch.randint(WORDS, (count,), generator=random)]
    for _ in range(CONTEXT - 1):
        words.append(after[words[-1], torch.randint(4, (count,), generator=random)])
    rows = torch.stack(words, dim=1)
    return [{"input_ids": row, "labels": row} for row in rows]


def train(spec, report):
    size = {"n_embd": spec["width"], "n_layer": 2, "n_head": 4, "n_positions": CONTEXT, "vocab_size": WORDS}
    torch.manual_seed(spec.seed)
    model = GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0))
    arguments = TrainingArguments(
        output_dir=str(report.folder),
        seed=spec.seed,
        learning_rate=spec["learning_rate"],
        per_device_train_batch_size=spec["batch_size"],
        max_steps=spec["steps"],
        logging_steps=5,
        logging_nan_inf_filter=False,  # scalelaw wants to see a loss that is not finite
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    rows = sentences(spec.seed + 1, spec["steps"] * spec["batch_size"])
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=sentences(12345, 200), callbacks=[ToScalelaw(report)])
    trainer.train()
    own = sum(each.numel() for each in model.transformer.h.parameters())
    words = sum(each.numel() for each in model.parameters()) - own
    return {"loss": trainer.evaluate()["eval_loss"], "parameters": own, "embedding_parameters": words}
