# The command line in an image: as nobody, and with a root file system that may be read-only.
#
#   docker build -t llmfail .
#   docker run --rm --read-only -v llmfail-state:/state -e ANTHROPIC_API_KEY llmfail ask "Say hello"
#
#   docker run -p 4000:4000 … llmfail serve --listen 0.0.0.0:4000      the gateway, which needs keys there
#
# What outlives a run (circuits, budgets, stored answers, the queue) is in /state. A configuration is mounted:
# -v ./llmfail.yaml:/etc/llmfail.yaml:ro -e LLMFAIL_CONFIG=/etc/llmfail.yaml
FROM python:3.13-slim AS build
COPY . /source
RUN python -m venv /opt/llmfail && /opt/llmfail/bin/pip install --no-cache-dir /source

FROM python:3.13-slim
COPY --from=build /opt/llmfail /opt/llmfail
RUN install -d -m 0700 -o nobody -g nogroup /state
ENV PATH=/opt/llmfail/bin:$PATH \
    LLMFAIL_STATE_DIR=/state \
    HOME=/state \
    PYTHONDONTWRITEBYTECODE=1
USER nobody
WORKDIR /state
VOLUME /state
# For what runs long in it, such as `queue run --watch`: unhealthy when a feature has no usable target, or when
# an alert is raised. Docker keeps the exit codes above 1 for itself.
HEALTHCHECK --interval=1m --timeout=10s CMD llmfail -q status --check || exit 1
ENTRYPOINT ["llmfail"]
CMD ["--help"]
