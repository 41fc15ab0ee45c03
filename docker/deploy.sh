#!/usr/bin/env bash
# deploy.sh: carlad, a training and TensorBoard in containers, by the commands that people know.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
    cat <<'END'
usage: docker/deploy.sh COMMAND [ARGUMENTS]

  up               start servers, a training and TensorBoard, and wait until they are healthy
  down             stop and remove the containers; volumes stay
  restart          down and up
  status           containers, and the servers as carlad sees them
  health           exit code 0 if every container that runs is healthy
  start-carla      the servers alone          stop-carla       restart-carla
  start-training   a training alone           stop-training    it saves what it has learned and ends
  logs             of the training            logs-carla       of carlad
  logs-tensorboard                            logs-all         (arguments: those of docker compose logs)
  shell            in the training's container                 shell-carla      in carlad's
  carlactl ...     asks the daemon, e.g. docker/deploy.sh carlactl lease --wait 10
  viz ...          a viewer on this machine's screen, e.g. docker/deploy.sh viz --run data/logs/NAME
  build            the images of the profile
  cleanup          removes containers, images and volumes with all that was learned; asks first (--yes: does not)
  help

COMPOSE_PROFILES chooses the simulator: standin (the bundled one: no GPU), gpu (CARLA on NVIDIA cards) or cpu
(CARLA that renders nothing). Unset: gpu where there is an NVIDIA driver, else standin. docs/docker.md has the
other variables; a file docker/.env may hold them.
END
}

die() {
    echo "deploy.sh: $*" >&2
    exit 2
}

find_compose() {
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        die "cannot run compose: neither \"docker compose\" nor docker-compose is there; install Docker's compose plugin"
    fi
}

choose_profile() {
    [ -z "${COMPOSE_PROFILES:-}" ] || return 0
    [ -f .env ] && grep -q '^COMPOSE_PROFILES=' .env && return 0
    if [ -e /proc/driver/nvidia/version ]; then export COMPOSE_PROFILES=gpu; else export COMPOSE_PROFILES=standin; fi
    echo "profile: $COMPOSE_PROFILES (COMPOSE_PROFILES chooses another)" >&2
}

# The profile's service that has carlad in it.
server() {
    "${compose[@]}" config --services | grep -m1 '^carla-server' ||
        die "no servers in profile \"${COMPOSE_PROFILES:-}\": set COMPOSE_PROFILES to standin, gpu or cpu"
}

# What is there of a container's command: a shell with the user's terminal, or without one in scripts.
in_container() {
    if [ -t 0 ] && [ -t 1 ]; then "${compose[@]}" exec "$@"; else "${compose[@]}" exec -T "$@"; fi
}

up() {
    "${compose[@]}" up --detach --wait "$@" && return
    echo "deploy.sh: not everything came up: docker/deploy.sh health says what, docker/deploy.sh logs-all why" >&2
    return 1
}

health() {
    local ids id sick=0
    ids=$("${compose[@]}" ps --quiet)
    [ -n "$ids" ] || { echo "nothing runs: docker/deploy.sh up" && return 1; }
    for id in $ids; do
        docker inspect --format '{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}-{{end}}' "$id"
        [ "$(docker inspect --format '{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}' "$id")" = healthy ] || sick=1
    done
    return "$sick"
}

# Compose builds by Docker's buildx plugin. Where that is missing, as in Debian's docker.io, compose would take the
# old builder, which makes every stage, of CARLA's image too; Docker itself has the new one.
build() {
    local services options=() chosen=() service image context file target args
    if docker buildx version >/dev/null 2>&1; then
        "${compose[@]}" build "$@"
        return
    fi
    services=$("${compose[@]}" config --services)
    for word in "$@"; do
        if grep -qxF -- "$word" <<<"$services"; then chosen+=("$word"); else options+=("$word"); fi
    done
    [ ${#chosen[@]} -gt 0 ] || mapfile -t chosen <<<"$services"
    "${compose[@]}" config | builds | while IFS=$'\t' read -r service image context file target args; do
        printf '%s\n' "${chosen[@]}" | grep -qxF -- "$service" || continue
        IFS=$'\t' read -r -a args <<<"$args"
        echo "building $image" >&2
        DOCKER_BUILDKIT=1 docker build --file "$context/$file" --target "$target" --tag "$image" \
            "${args[@]}" "${options[@]}" "$context" </dev/null
    done
}

# Of compose's configuration as it prints it, for each service that is built: its name, image, context, file, target
# and options.
builds() {
    awk '
        function value() { sub(/^[^:]*: */, ""); gsub(/^["\x27]|["\x27]$/, ""); return $0 }
        function done() {
            if (context != "") print service "\t" image "\t" context "\t" file "\t" target options
            context = options = ""
        }
        /^[^ ]/ { done(); inside = /^services:/ }
        !inside { next }
        /^  [^ ]/ { done(); service = $1; sub(/:$/, "", service) }
        /^    [^ ]/ { part = $1 }
        /^    image:/ { image = value() }
        part != "build:" { next }
        /^      context:/ { context = value() }
        /^      dockerfile:/ { file = value() }
        /^      target:/ { target = value() }
        /^      network:/ { options = options "\t--network=" value() }
        /^        [A-Z]/ { name = $1; sub(/:$/, "", name); options = options "\t--build-arg=" name "=" value() }
        END { done() }
    '
}

cleanup() {
    if [ "${1:-}" != --yes ]; then
        read -r -p "Remove carlad's containers, images and volumes, with data and models? [y/N] " answer || answer=
        [[ "$answer" =~ ^[yY] ]] || { echo "nothing was removed" && return 1; }
    fi
    COMPOSE_PROFILES='*' "${compose[@]}" down --volumes --remove-orphans --rmi all
}

command=${1:-help}
shift || true
case "$command" in
help | -h | --help) usage && exit 0 ;;
esac
command -v docker >/dev/null || die "cannot find docker: install it, or use carlactl without containers"
find_compose
choose_profile

case "$command" in
up) up "$@" ;;
down) "${compose[@]}" down "$@" ;;
restart) "${compose[@]}" down && up "$@" ;;
status) "${compose[@]}" ps --all && in_container "$(server)" carlactl status "$@" ;;
health) health ;;
start-carla) up "$(server)" ;;
stop-carla) "${compose[@]}" stop "$(server)" ;;
restart-carla) "${compose[@]}" restart "$(server)" && up "$(server)" ;;
start-training) "${compose[@]}" up --detach carla-rl-training ;;
stop-training) "${compose[@]}" stop carla-rl-training ;;
logs) "${compose[@]}" logs "$@" carla-rl-training ;;
logs-carla) "${compose[@]}" logs "$@" "$(server)" ;;
logs-tensorboard) "${compose[@]}" logs "$@" tensorboard ;;
logs-all) "${compose[@]}" logs "$@" ;;
shell) in_container carla-rl-training bash "$@" ;;
shell-carla) in_container "$(server)" bash "$@" ;;
carlactl) in_container "$(server)" carlactl "$@" ;;
viz) "${compose[@]}" --profile viz run --rm viz "$@" ;;
build) build "$@" ;;
cleanup) cleanup "$@" ;;
*)
    usage >&2
    die "there is no command \"$command\""
    ;;
esac
