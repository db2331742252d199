"""Learning: the loop, the compute plan, EMA, probe. Import the modules you need: some need torch, events and control do not."""
