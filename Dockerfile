# docker build -t packnet_jax .                        for CPU
# docker build -t packnet_jax --build-arg EXTRA=gpu .  for NVIDIA GPUs (CUDA comes with the wheels)
# docker build -t packnet_jax --build-arg EXTRA=tpu .  for Cloud TPU
# EXTRA=gpu,gs and the like: also what gs:// needs
FROM python:3.12-slim

ARG EXTRA=cpu
WORKDIR /packnet_jax
COPY requirements.txt pyproject.toml README.md LICENSE NOTICE ./
RUN pip install --no-cache-dir -r requirements.txt
COPY packnet_jax packnet_jax
COPY tfds_builders tfds_builders
COPY configs configs
RUN if [ "$EXTRA" = cpu ]; then pip install --no-cache-dir --no-deps -e .; \
    else pip install --no-cache-dir -c requirements.txt -e ".[$EXTRA]"; fi

ENTRYPOINT ["python", "-m", "packnet_jax.main"]
CMD ["--config=configs/demo.py", "--workdir=/runs/demo"]
