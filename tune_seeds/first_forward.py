"""The initial weights and the first batch of a training loop that nobody can look into."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from tune_seeds.environment import fingerprint


class FirstForward:
    """Notes the first forward pass in training mode in this process; ``close`` it in the end.

    Attributes:
        fingerprints: of the module's weights and of its inputs, once it has been called.
    """

    def __init__(self) -> None:
        self.fingerprints: dict[str, str] = {}
        self._hook = register_module_forward_pre_hook(self._note)

    def close(self) -> None:
        """Look no further."""
        self._hook.remove()

    def _note(self, module: torch.nn.Module, inputs: Any) -> None:
        # The outermost module is called first; what is called without gradients is an evaluation.
        if not module.training or not torch.is_grad_enabled() or self.fingerprints:
            return
        self.close()
        self.fingerprints["initial_weights"] = fingerprint(dict(module.state_dict()))
        if inputs:  # what is passed by keyword is not shown to a hook of all modules
            self.fingerprints["first_batch"] = fingerprint(inputs)
