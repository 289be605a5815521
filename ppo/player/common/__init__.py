"""Used by all packages: error messages, run folders, atomic files, video, the agent's view of a frame."""
