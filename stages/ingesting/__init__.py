"""What stands behind `stages.ingest`: where files come from, what format they are, what they refer to."""
