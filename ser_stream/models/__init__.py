"""Files that are models: reading, checking and running them; and those that are shipped."""
