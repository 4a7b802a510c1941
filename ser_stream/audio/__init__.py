"""Where blocks come from and go: devices, files, arrays, resampling, writing."""
