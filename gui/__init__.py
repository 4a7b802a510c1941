"""The Qt meter lives here; see README.md for what exists already."""
