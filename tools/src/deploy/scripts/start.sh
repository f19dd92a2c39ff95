# DIR TESTBED LOG_FILTER HISTORY_MIB|auto METRICS_PORT|none ID... -- ARGUMENT...: starts those nodes that do not run.
testbed=$1 filter=$2 history=$3 metrics=$4
shift 4
is_marked || fail "$dir is not there; tools deploy install makes it"
[ "$(cat "$marker")" = "$testbed" ] || fail "$dir holds testbed $(head -n 1 "$marker"); tools deploy install replaces it"
ids=
while [ "$1" != -- ]; do ids="$ids $1"; shift; done
shift
for program in node net_client net_server; do
    [ -x "$dir/bin/$program" ] || fail "$dir/bin/$program is missing; tools deploy install brings it"
done
say "version $("$dir/bin/node" --version 2>&1 | head -n 1)"
[ -z "$filter" ] || { RUST_LOG=$filter; export RUST_LOG; }
cd "$dir" || fail "$dir cannot be entered"
ulimit -n "$(ulimit -Hn)"
if [ "$history" = auto ]; then
    # A quarter of the memory for all nodes here together, and no more than a node takes by itself.
    history=$(awk '/^MemTotal:/ { print int($2 / 4096) }' /proc/meminfo)
    history=$((history / $(say $ids | wc -w)))
    [ "$history" -ge 1 ] || history=1
    [ "$history" -le 2048 ] || history=2048
fi
for id in $ids; do
    tells=
    if [ "$metrics" != none ]; then
        tells="--metrics $metrics"
        metrics=$((metrics + 1))
    fi
    if is_up "$id"; then say "already $id $pid"; continue; fi
    [ ! -e "keys/node-$id.used" ] ||
        fail "the keys of node $id have served a start, and keys serve one; tools deploy install --new-keys brings others"
    rm -f "run/node-$id.pid" "run/node-$id.stdin"
    # What it reads says when to stop. Opened for both directions, it neither blocks nor ends.
    mkfifo "run/node-$id.stdin" || fail "run/node-$id.stdin cannot be made"
    # The full path, so that what lies in the run directory is known by it.
    setsid "$real/bin/node" --id "$id" --stop-on-stdin-line --hosts "$real/hosts.txt" --keys "$real/keys" \
        --log-dir "$real/log" --history-mib "$history" $tells "$@" 0<> "run/node-$id.stdin" > /dev/null 2> "log/stderr-$id.txt" &
    pid=$!
    printf '%s %s %s\n' "$pid" "$(started "$pid")" "$boot" > "run/node-$id.pid" || fail "run/node-$id.pid cannot be written"
    say "started $id $pid"
done
finish
