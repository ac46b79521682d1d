# A model with TensorFlow Serving around it: nothing is mounted, and it is warm when it says that it is ready.
#   modelmill image runs/digits                                          # builds, measures and tags it
#   docker build --build-arg NAME=digits -t digits runs/digits/image     # the same by hand, from what that left; unmeasured
# The context is `models`, which becomes /models: NAME/VERSION/..., models.config, monitoring.config and flags, which has
# the server's flags, one a line. What `docker run IMAGE` is given besides comes after them, and so counts.
ARG BASE=tensorflow/serving:2.20.0
FROM ${BASE}

# first, so that also what an interrupted build leaves tells whose it is
ARG BUILD=
LABEL modelmill.build=${BUILD}

ARG NAME=model
ENV MODEL_NAME=${NAME}
COPY --chown=65534:65534 models /models
USER 65534:65534

# the base has no curl, but bash; a HEAD would do for a port, but the model may still be loading
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m CMD ["/bin/bash", "-c", \
  "exec 3<>/dev/tcp/127.0.0.1/8501 && printf \"GET /v1/models/$MODEL_NAME HTTP/1.0\\r\\n\\r\\n\" >&3 && [[ $(cat <&3) == *'\"AVAILABLE\"'* ]]"]

ENTRYPOINT ["/bin/bash", "-c", "IFS=$'\\n'; set -f; exec tensorflow_model_server $(cat /models/flags) \"$@\"", \
  "tensorflow_model_server"]
