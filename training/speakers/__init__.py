"""Speaker embedders: trained on who speaks, and measured on speakers never heard."""
