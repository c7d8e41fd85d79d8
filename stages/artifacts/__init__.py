"""What one stage hands to the next: zips of meshes, views, splats and vectors, to bytes and back."""
