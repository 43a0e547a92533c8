#!/usr/bin/env bash
# One machine as a Ray cluster, for jobs that outlive a terminal and for trying out submission:
#   clusters/local-node.sh            (stays in the foreground; Ctrl-C ends Ray)
#   raykd submit JOB --address http://127.0.0.1:8265 --root "$PWD"
# A single `raykd run JOB` needs none of this: it starts a Ray of its own.
set -euo pipefail

# The dashboard, which takes jobs, on this machine alone; to reach it from elsewhere, tunnel through ssh. Ray's other services listen on
# every interface whatever is said here (2.60): the token keeps others out, and a firewall should.
host=127.0.0.1
# Ray's usual ports, so that clients find them without being told; change them where another Ray runs. They must lie outside the
# range below, where Ray gives each worker a port. raykd uses no Ray client, but Ray (2.60) starts the server of one on any head.
port=${RAYKD_PORT:-6379}
dashboard_port=${RAYKD_DASHBOARD_PORT:-8265}
agent_port=${RAYKD_AGENT_PORT:-52365}
client_port=${RAYKD_CLIENT_PORT:-10001}
min_worker_port=${RAYKD_MIN_WORKER_PORT:-10002}
max_worker_port=${RAYKD_MAX_WORKER_PORT:-19999}
# The machine's cores. More than that is allowed (logical CPUs only count what runs at once) and helps on two cores.
cpus=${RAYKD_CPUS:-$(nproc)}
# 1 GiB: Ray would take 30% of the memory, but raykd streams: what is under way at once is a few blocks of 128 MiB for each of
# the few operators of a pipeline, and models need the memory more.
object_store_bytes=${RAYKD_OBJECT_STORE_BYTES:-$((1024 * 1024 * 1024))}
# Ray's sockets lie below it, and a socket's path may be 107 bytes long, of which Ray needs about 60.
temp_dir=${RAYKD_TEMP_DIR:-/tmp/ray}

for setting in "PORT=$port" "DASHBOARD_PORT=$dashboard_port" "AGENT_PORT=$agent_port" "CLIENT_PORT=$client_port"; do
    given=${setting#*=}
    if [ "$given" -ge "$min_worker_port" ] && [ "$given" -le "$max_worker_port" ]; then
        echo "RAYKD_${setting%%=*} = $given lies among the workers' ports, $min_worker_port to $max_worker_port; give another port, or" \
            "another range in RAYKD_MIN_WORKER_PORT and RAYKD_MAX_WORKER_PORT" >&2
        exit 2
    fi
done

export RAY_AUTH_MODE=token
if [ -z "${RAY_AUTH_TOKEN:-}" ]; then
    token_path=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
    if [ ! -s "$token_path" ]; then
        # 32 bytes from the kernel; readable by nobody else.
        mkdir -p "$(dirname "$token_path")"
        (umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$token_path")
        echo "new token in $token_path"
    fi
fi

# Two lines in place of the 20 that Ray prints when it has started; what it prints later, and all of it when it has not, stays.
announce() {
    trap '' INT
    local line held=
    while IFS= read -r line; do
        if [[ $line == *"Process exit logs will be saved to"* ]]; then
            echo "Ray is up: raykd submit JOB --address http://$host:$dashboard_port --root \"\$PWD\""
            echo "Ctrl-C ends it; so does: kill $$"
            cat
            return
        fi
        held+=$line$'\n'
    done
    printf '%s' "$held"
}

exec ray start --head --block --disable-usage-stats \
    --node-ip-address="$host" --port="$port" \
    --dashboard-host="$host" --dashboard-port="$dashboard_port" \
    --ray-client-server-port="$client_port" --dashboard-agent-listen-port="$agent_port" \
    --min-worker-port="$min_worker_port" --max-worker-port="$max_worker_port" \
    --num-cpus="$cpus" --object-store-memory="$object_store_bytes" --temp-dir="$temp_dir" > >(announce)
