#!/bin/sh
# Prints an env file for docker-compose.yml with secrets made at random; deploy/compose/example.env says what each is.
# Keep what it prints: a master key that is lost makes the endpoints' secrets unreadable.
set -eu
random() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }
cat <<ENV
RABBITMQ_PASSWORD=$(random 24)
POSTGRES_PASSWORD=$(random 24)
POSTRIDER_OPERATOR_KEYS=$(random 24)
POSTRIDER_MASTER_KEYS=k1:$(head -c 32 /dev/urandom | base64 | tr -d '\n')
GRAFANA_PASSWORD=$(random 12)
ENV
