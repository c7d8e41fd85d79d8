"""The fuzz campaign: hostile meshes through real builds, and hostile bytes through each decoder (`make fuzz`)."""
