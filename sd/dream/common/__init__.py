"""Used by all packages: error messages, run folders, devices, torchrun, video files."""
