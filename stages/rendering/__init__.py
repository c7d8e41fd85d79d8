"""What stands behind `stages.render`: cameras, the drawing itself, and encoding."""
