#!/bin/sh
# Trains builtin:embed, builtin:intent and builtin:sentiment in DEADLINE_S seconds (210) on one GPU. Started in the
# folder that gather.py wrote; the scripts lie in SCRIPTS. Writes to $OUT. SMOKE=1: a few steps of each. Not run in full yet: no model of these is kept here.
set -u
: "${OUT:=$PWD/out}" "${DEADLINE_S:=210}" "${SCRIPTS:=$PWD/scripts}" "${OMP_NUM_THREADS:=2}" "${TRICE_WORK:=${TMPDIR:-/tmp}/trice-encoders.$$}"
export START="$(date +%s.%N)" DEADLINE_S TRICE_DATA="$PWD" TRICE_WORK TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1 OMP_NUM_THREADS
mkdir -p "$OUT" "$TRICE_WORK"
python3 -c 'import lzma, shutil; shutil.copyfileobj(lzma.open("minilm.safetensors.xz"), open("minilm.safetensors", "wb"))'
step() { python3 "$SCRIPTS/$1.py" ${2:-} 2>&1 | tee -a "$OUT/log.txt"; }
step embed &
for task in intent sentiment sentiment-sst; do step teacher $task & done
wait
for task in intent sentiment sentiment-sst; do step finetune $task & done
wait
for name in embed intent sentiment sentiment-sst; do
    python3 -c '
import sys, tarfile
with tarfile.open(sys.argv[2], "w:xz", preset=1) as out:
    out.add(sys.argv[1], sys.argv[3])' "$TRICE_WORK/$name" "$OUT/$name.tar.xz" "$name" &
done
wait
ls -l "$OUT"
