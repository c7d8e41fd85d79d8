"""What stands behind `stages.ingest`: where a mesh comes from, and the files that it refers to."""
