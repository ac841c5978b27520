#!/bin/sh
# What the tests use beside Python: a PostgreSQL server from Debian, and the OpenFeature SDKs, the Phoenix clients and the client of Phoenix Channels from npm.
# Each is installed once where this machine allows it; the tests that miss one say so and are skipped.
set -u
cd "$(dirname "$0")/.."

if [ -z "$(command -v initdb)$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ]; then
    if [ "$(id -u)" = 0 ] && [ -n "$(command -v apt-get)" ]; then
        echo "Installing PostgreSQL from Debian for the tests that use it; this happens once."
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; } >/dev/null 2>&1 \
            || echo "It could not be installed: the tests that need it are skipped."
    else
        echo "The tests on PostgreSQL are skipped; install it with: sudo apt-get install postgresql"
    fi
fi

if [ -z "$(command -v npm)" ]; then
    echo "The tests of the JavaScript clients are skipped; they need Node.js 20 with npm."
    exit 0
fi
for packages in tests/clients/channels_js tests/clients/openfeature_js tests/clients/phoenix_js; do
    if ! cmp -s $packages/package-lock.json $packages/node_modules/.installed; then
        echo "Installing the JavaScript packages of $packages; this happens once."
        if npm ci --prefix $packages --no-audit --no-fund --silent; then
            cp $packages/package-lock.json $packages/node_modules/.installed
        else
            echo "They could not be installed: the tests that need them are skipped."
        fi
    fi
done
