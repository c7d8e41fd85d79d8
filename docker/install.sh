#!/bin/sh
# Install the packages of an image that has torch, each compared with its hash (`make hashes`), then gs-triplets itself.
# PyOpenGL is Python alone, and comes as sources; no other package is built.
set -eu
pip install --no-cache-dir --require-hashes --no-build-isolation --only-binary=:all: --no-binary pyopengl \
    -r docker/requirements.txt
pip install --no-cache-dir --no-deps --no-build-isolation .
