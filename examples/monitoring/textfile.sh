#!/bin/sh
# For cron, where node_exporter reads a directory: * * * * * /usr/local/bin/textfile.sh
# The file is written whole or not at all.
exec llmfail -q metrics -o /var/lib/node_exporter/textfile/llmfail.prom
