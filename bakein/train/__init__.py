"""Training: state, optimizer, losses, the supervised step, the one loop, checkpoints."""
