#!/bin/sh
# What the tests use beside Python: a PostgreSQL and a Redis server from Debian, and the OpenFeature SDKs from npm.
# Each is installed once where this machine allows it; the tests that miss one say so and are skipped.
set -u
cd "$(dirname "$0")/.."

missing=""
[ -n "$(command -v initdb)$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || missing="$missing postgresql"
[ -n "$(command -v redis-server)" ] || missing="$missing redis-server"
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && [ -n "$(command -v apt-get)" ]; then
        echo "Installing$missing from Debian for the tests that use them; this happens once."
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null 2>&1 \
            || echo "They could not be installed: the tests that need$missing are skipped."
    else
        echo "The tests that need$missing are skipped; install with: sudo apt-get install$missing"
    fi
fi

packages=tests/clients/openfeature_js
if [ -z "$(command -v npm)" ]; then
    echo "The tests of the JavaScript SDKs are skipped; they need Node.js 20 with npm."
elif ! cmp -s $packages/package-lock.json $packages/node_modules/.installed; then
    echo "Installing the JavaScript SDKs that the client tests run; this happens once."
    if npm ci --prefix $packages --no-audit --no-fund --silent; then
        cp $packages/package-lock.json $packages/node_modules/.installed
    else
        echo "They could not be installed: the tests that need them are skipped."
    fi
fi
