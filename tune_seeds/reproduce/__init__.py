"""Train a recorded run again: bit for bit (``verify``), and watched (``audit``)."""
