#!/usr/bin/env bash
# A study from data to report, then what was found. Arguments go to snakemake. VPAUDIT_RECORD=1: DVC records the outputs.
# The same command again finishes an interrupted run: a lock left by a killed run of this folder is removed first.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}" TOKENIZERS_PARALLELISM=false
exec 9>.run.lock
flock -n 9 || { echo "error: another run works in this folder; wait for it, or stop it" >&2; exit 2; }
find results figures work -name ".*.tmp.*" -delete 2>/dev/null || true  # of a killed run; nothing else runs here
# Children must not hold the lock: after kill -9 a job may outlive this script, and its files are written whole anyway.
if ls .snakemake/locks/* >/dev/null 2>&1; then python -m snakemake "$@" --unlock --quiet all >/dev/null 2>&1 9>&- || true; fi
log=logs/snakemake.log changed=logs/changed  # of git's files, when this run began; an interrupted run goes on with its own
mkdir -p logs
[ -e "$changed" ] || git diff --name-only -z --relative HEAD >"$changed" 2>/dev/null || rm -f "$changed"
echo "Running; everything that Snakemake says is kept in $log"
python -m snakemake "$@" 2>&1 9>&- | python -m vpaudit follow "$log" 9>&-
config=$(python - "$@" <<'PY'
import sys
from vpaudit.study import config
overlays, after = [], False
for argument in sys.argv[1:]:
    after = argument == "--configfile" or (after and not argument.startswith("-"))
    overlays += [argument] if after and argument != "--configfile" else []
print(config.load(*overlays).results / "config.yaml")
PY
)
if [ -n "${VPAUDIT_RECORD:-}" ]; then
    dvc commit --force --quiet
else
    python -m vpaudit settle --config "$config" --before "$changed"
fi
rm -f "$changed"
[ -n "${VPAUDIT_AUDIT:-}" ] || python -m vpaudit stage closing --config "$config"  # an audit gives its own answer
