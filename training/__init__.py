"""Train the papers' models on open corpora; needs PyTorch."""
