"""Convert files of formats that no stage reads, with Blender in an environment of its own."""
