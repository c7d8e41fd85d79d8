"""The network: Gaussians to patches, tokens and a vector; and how Uni3D's weights are loaded into it."""
