# Workers and drivers without a GPU:  docker build -f docker/cpu.Dockerfile -t gs-triplets:cpu .
FROM python:3.11-slim-bookworm

# wget: KubeRay's health checks call it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends wget libegl1 libgl1 libgles2 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

# More words for pip: "--extra-index-url URL" with PyTorch's CPU index makes the image several GB smaller.
ARG PIP_ARGS=""
WORKDIR /app
COPY . .
# Installed, not only copied: Ray's workers find the packages from any folder.
RUN pip install --no-cache-dir -c constraints.txt ".[s3]" ${PIP_ARGS} && rm -rf /app/*

ENV HF_HUB_OFFLINE=1
CMD ["python", "-m", "pipeline", "--help"]
