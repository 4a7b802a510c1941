"""Small views and controls that several pages use."""
