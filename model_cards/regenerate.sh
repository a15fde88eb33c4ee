#!/usr/bin/env bash
# Trains the models again and takes over their cards and pictures: regenerate.sh DATA WORK [CARD ...]
# DATA holds ag_news/, hurricane/, fashion_mnist/ and cifar10/; WORK is filled. Without names: all cards.
# A model that is in WORK already is not trained again.
set -euo pipefail
cards=$(cd "$(dirname "$0")" && pwd)
data=$(cd "$1" && pwd)
mkdir -p "$2"
cd "$2"
shift 2
for set in ag_news hurricane fashion_mnist cifar10; do
  [ -e "$set" ] || ln -s "$data/$set" "$set"
done
[ $# -gt 0 ] || set -- $(cd "$cards" && ls -d */)
for card in "$@"; do
  card=${card%/}
  [ -f "$card/README.md" ] || bash "$cards/$card/reproduce.sh"
  mixtext-hf push "$card" --card_only # of what the run recorded, in today's words
  cp "$card/README.md" "$card"/*.png "$cards/$card/"
done
