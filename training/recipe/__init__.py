"""Every number that a training run depends on."""
