"""The schedule as Ray hears it: what each trial does next, and what becomes of one that fails."""
