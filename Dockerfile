# capfw in a container; docs/installing.md shows its use.
#   docker build -t capfw .                                for the CPU
#   docker build -t capfw:cuda --build-arg VARIANT=cuda .  for NVIDIA GPUs
# EXTRAS names extras of capfw: --build-arg EXTRAS=lora
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG VARIANT=cpu
ARG EXTRAS=""
RUN python -m venv /opt/capfw
# PyTorch first, in a layer of its own: it is large and changes rarely. Its CUDA wheels bring the CUDA libraries.
RUN case "$VARIANT" in \
      cpu) /opt/capfw/bin/pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu ;; \
      cuda) /opt/capfw/bin/pip install --no-cache-dir torch torchvision ;; \
      *) echo "VARIANT is cpu or cuda, not $VARIANT" >&2; exit 2 ;; \
    esac
COPY . /source
RUN /opt/capfw/bin/pip install --no-cache-dir "/source${EXTRAS:+[$EXTRAS]}"

FROM python:${PYTHON}-slim
COPY --from=build /opt/capfw /opt/capfw
# Everyone may write to /cache and /work: --user can choose any user.
RUN useradd --create-home capfw && install -d -m 1777 /cache /work
ENV PATH="/opt/capfw/bin:$PATH" HF_HOME=/cache
VOLUME /cache
USER capfw
WORKDIR /work
ENTRYPOINT ["capfw"]
CMD ["--help"]
