# docker build -t sgm_jax .                             for CPUs
# docker build -t sgm_jax --build-arg EXTRA=cuda .      for NVIDIA GPUs: docker run --gpus all sgm_jax --mode=train ...
# docker build -t sgm_jax --build-arg EXTRA=tpu .       for Cloud TPU: docker run --privileged --net=host sgm_jax ...
FROM python:3.12-slim

ARG EXTRA=""
WORKDIR /sgm_jax
COPY pyproject.toml setup.cfg setup.py README.md LICENSE ./
COPY sgm_jax sgm_jax
COPY configs configs
RUN pip install --no-cache-dir ".${EXTRA:+[$EXTRA]}"

ENTRYPOINT ["sgm-jax"]
