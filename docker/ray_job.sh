#!/usr/bin/env bash
# Build on a Ray cluster from a checkout:  RAY_API_SERVER_ADDRESS=... docker/ray_job.sh SOURCE RUN [MORE OPTIONS]
# SOURCE and RUN are absolute paths on storage that all nodes see, or URIs. The same command again resumes.
# Leaves with 0 where the job succeeded, with 1 where it failed; a job that was stopped counts as success for Ray.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
source=$1 run=$2
shift 2
exec ray job submit --working-dir . -- python -m pipeline build full --source "$source" --run "$run" "$@"
