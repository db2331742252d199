"""Learning: the loop, the compute plan, EMA, probe. ``events`` and ``control`` need no torch, the rest does."""
