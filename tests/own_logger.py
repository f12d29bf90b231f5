"""A module whose hyperparameters Lightning knows, and so a logger of the user's announces them.

It stands alone because workers import it, and they know of no pythonpath of pytest's.
"""

from __future__ import annotations

import tiny


class LoggingModule(tiny.TinyModule):
    def __init__(self, lr: float = 0.1, width: int = 4):
        super().__init__(lr, width)
        self.save_hyperparameters()
