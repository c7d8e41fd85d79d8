"""What stands behind `stages.render`: cameras, drawing over EGL, and encoding."""
