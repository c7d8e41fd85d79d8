"""What stands behind `stages.render`: readers of mesh formats, cameras, the drawing itself, and encoding."""
