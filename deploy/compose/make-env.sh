#!/bin/sh
# Prints an env file for docker-compose.yml with random secrets; deploy/compose/example.env describes each.
# Keep the output: without the master key the endpoints' secrets cannot be read.
set -eu
random() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }
cat <<ENV
RABBITMQ_PASSWORD=$(random 24)
POSTGRES_PASSWORD=$(random 24)
POSTRIDER_OPERATOR_KEYS=$(random 24)
POSTRIDER_MASTER_KEYS=k1:$(head -c 32 /dev/urandom | base64 | tr -d '\n')
GRAFANA_PASSWORD=$(random 12)
ENV
