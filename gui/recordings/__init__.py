"""The page of recordings: analysis, playing, correcting, tables."""
