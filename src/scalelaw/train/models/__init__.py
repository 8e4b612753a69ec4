"""What is trained: one file is one family of networks. Importing a member needs NumPy alone; its `outputs` needs JAX."""

from __future__ import annotations

from ...registry import OpenSet
from ._base import Dropout, Ends, Kind, Model, Net, Product, Scaling, Structure, Tensor, dropped

__all__ = ["Dropout", "Ends", "Kind", "Model", "Net", "Product", "Scaling", "Structure", "Tensor", "dropped", "models"]

models = OpenSet("scalelaw.train.models", __path__, "model", Model)
