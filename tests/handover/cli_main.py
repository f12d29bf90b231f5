"""A user's own ``main.py`` with LightningCLI: trains, and prints what it logged last."""

from __future__ import annotations

import json

from lightning.pytorch.cli import LightningCLI
from tiny import TinyData, TinyModule

if __name__ == "__main__":
    cli = LightningCLI(TinyModule, TinyData, save_config_callback=None)
    print(json.dumps({name: float(v) for name, v in cli.trainer.callback_metrics.items()}))
