#!/bin/sh
set -eu
mkdir -p points
for rate in 0.1 0.2 0.5; do
    for seed in $(seq 0 19); do
        echo "--log points/$rate-$seed --truncate python3 point.py $rate $seed"
    done
done >jobs
echo "-L total -W $(seq -s , -f @%g 0 59) python3 total.py points" >>jobs # @N: line N of this file, from 0
ids=$(ts --batch jobs) # like 0-60
total=${ids##*[-,]}
ts -w "$total" || { ts --why "$total"; exit 1; }
ts -c "$total"
