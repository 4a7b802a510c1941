"""Speaker embedders: trained to name the speaker, and measured on speakers outside the training."""
