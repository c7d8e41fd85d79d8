# Workers and drivers without a GPU:  docker build -f docker/cpu.Dockerfile -t gs-triplets:cpu .
FROM python:3.11-slim-bookworm

# wget: KubeRay's health checks call it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends wget libegl1 libgl1 libgles2 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

# PyTorch's index of CPU builds, as --build-arg TORCH_INDEX=URL, makes the image several GB smaller. That torch is not
# compared with a hash; all other packages are.
ARG TORCH_INDEX=""
WORKDIR /app
COPY . .
# Installed, not only copied: Ray's workers find the packages from any folder.
RUN if [ -n "${TORCH_INDEX}" ]; then pip install --no-cache-dir --no-deps -c constraints.txt --index-url "${TORCH_INDEX}" torch; \
    else pip install --no-cache-dir --require-hashes --only-binary=:all: -r docker/torch.txt; fi \
    && docker/install.sh && rm -rf /app/*

ENV HF_HUB_OFFLINE=1
CMD ["python", "-m", "pipeline", "--help"]
