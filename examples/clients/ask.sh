#!/bin/sh
# Asks `llmfail serve` with curl. Its exit code is 22 where nobody can answer, and 18 where a stream breaks off.
gateway=${LLMFAIL_URL:-http://127.0.0.1:4000}
prompt=$(printf '%s' "${*:-Say hello}" | sed 's/["\\]/\\&/g')
curl --silent --show-error --no-buffer --fail-with-body "$gateway/v1/chat/completions" \
  --header "Authorization: Bearer ${LLMFAIL_KEY:-none}" --header "Content-Type: application/json" \
  --data '{"model": "default", "stream": true, "messages": [{"role": "user", "content": "'"$prompt"'"}]}'
