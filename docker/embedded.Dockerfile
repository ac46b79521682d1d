# modelmill's own model server with the conventions of tensorflow/serving, for where that image cannot be had. It is
# built on modelmill's image (pipeline.Dockerfile) and takes nothing else, so it has no context:
#   docker build -t modelmill-server - < docker/embedded.Dockerfile
#   docker run --rm --read-only -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \
#     -e MODEL_NAME=digits -v /srv/models:/models:ro modelmill-server
# where `modelmill push digits --to /srv/models/digits` has put versions. Flags of tensorflow_model_server come last.
# A run's model can be baked into it, too: modelmill image digits --base modelmill-server
ARG BASE=modelmill
FROM ${BASE}
ENV MODEL_NAME=model MODEL_BASE_PATH=/models PYTHONDONTWRITEBYTECODE=1
EXPOSE 8500 8501
WORKDIR /
# by the name that serving.Dockerfile and others who build on such an image start; reached from outside the container
USER root
RUN bin=$(dirname "$(command -v modelmill)")/tensorflow_model_server \
  && printf '#!/bin/sh\nexec modelmill serve --bind_address=0.0.0.0 "$@"\n' > "$bin" && chmod 755 "$bin"
USER modelmill
# its ports open when the model is loaded; a model that was unloaded later is no longer AVAILABLE
HEALTHCHECK --interval=10s --timeout=10s --start-period=2m CMD ["python", "-c", "import os, urllib.request as ask; \
assert b'AVAILABLE' in ask.urlopen('http://127.0.0.1:8501/v1/models/' + os.environ['MODEL_NAME'], timeout=8).read()"]
ENTRYPOINT ["/bin/sh", "-c", "exec tensorflow_model_server --port=8500 --rest_api_port=8501 \
--model_name=$MODEL_NAME --model_base_path=$MODEL_BASE_PATH/$MODEL_NAME \"$@\"", "tensorflow_model_server"]
CMD []
