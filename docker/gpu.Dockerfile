# Nodes with CUDA GPUs:  docker build -f docker/gpu.Dockerfile -t gs-triplets:gpu .
# A devel base: gsplat's wheel holds CUDA sources, which nvcc compiles. CUDA's major version is that of the torch wheel.
ARG CUDA=13.0.2
FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04

# libegl1 finds NVIDIA's own driver where the container runtime gives it (capability graphics), else Mesa's.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        python3 python3-dev python3-venv g++ wget libegl1 libgl1 libgles2 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv \
    && echo 'PATH=/opt/venv/bin:$PATH' > /etc/profile.d/venv.sh  # KubeRay may start Ray in a login shell
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /app
COPY . .
RUN pip install --no-cache-dir --require-hashes --only-binary=:all: -r docker/torch.txt \
    && docker/install.sh && rm -rf /app/*

# Compile gsplat once, here: workers take what is there and never build.
# No GPU is needed to build; the architectures are named instead (8.0 A100, 8.9 L4 and L40S, 9.0 H100 and H200).
ARG ARCHITECTURES="8.0;8.9;9.0"
RUN TORCH_CUDA_ARCH_LIST=${ARCHITECTURES} python -m stages.fitting.kernels

ENV HF_HUB_OFFLINE=1
CMD ["python", "-m", "pipeline", "--help"]
