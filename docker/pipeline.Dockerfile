# modelmill as a command: train, compress, export and measure in containers. From the repository's root:
#   docker build -f docker/pipeline.Dockerfile -t modelmill .
#   docker run --rm -v modelmill-runs:/work/runs modelmill run digits
# With a GPU, of which the host needs the driver and NVIDIA's container toolkit, and the image brings the rest:
#   docker build -f docker/pipeline.Dockerfile -t modelmill:gpu --build-arg EXTRAS=gpu .
#   docker run --rm --gpus all -v modelmill-runs:/work/runs modelmill:gpu run digits
# EXTRAS takes any of pyproject.toml's extras: EXTRAS=gpu,s3. PIP is for machines with an index of their own:
#   --build-arg PIP="pip install --no-cache-dir --index-url https://..."
ARG BASE=python:3.11.13-slim-bookworm
FROM ${BASE} AS build
ARG EXTRAS=
ARG PIP="pip install --no-cache-dir"
WORKDIR /src
COPY pyproject.toml README.md ./
COPY pipeline pipeline
COPY models models
COPY serving serving
COPY docker/serving.Dockerfile docker/
# the base's pip installs into it, so it needs none of its own
RUN python -m venv --without-pip /opt/modelmill && PIP_PYTHON=/opt/modelmill/bin/python ${PIP} ".${EXTRAS:+[${EXTRAS}]}"

FROM ${BASE}
# runs and their store are written as this user; a new volume takes over its rights
RUN useradd --create-home --uid 1000 modelmill && mkdir -p /work/runs && chown modelmill /work /work/runs
ENV PATH=/opt/modelmill/bin:$PATH
USER modelmill
WORKDIR /work
VOLUME /work/runs
ENTRYPOINT ["modelmill"]
CMD ["--help"]
# last: to some storage drivers each instruction is a copy of what there is
COPY --from=build /opt/modelmill /opt/modelmill
