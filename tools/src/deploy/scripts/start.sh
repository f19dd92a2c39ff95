# DIR TESTBED LOG_FILTER HISTORY_MIB|auto NODES_HERE off|process|power
# ID:METRICS_PORT|none:member|follower|byzantine=BEHAVIOUR... -- ARGUMENT...: starts those nodes that do not run.
testbed=$1 filter=$2 history=$3 nodes=$4 durability=$5
shift 5
is_marked || fail "$dir is not there; tools deploy install makes it"
[ "$(cat "$marker")" = "$testbed" ] || fail "$dir holds testbed $(head -n 1 "$marker"); tools deploy install replaces it"
places=
while [ "$1" != -- ]; do places="$places $1"; shift; done
shift
for program in node net_client net_server; do
    [ -x "$dir/bin/$program" ] || fail "$dir/bin/$program is missing; tools deploy install brings it"
done
say "version $("$dir/bin/node" --version 2>&1 | head -n 1)"
[ -z "$filter" ] || { RUST_LOG=$filter; export RUST_LOG; }
cd "$dir" || fail "$dir cannot be entered"
ulimit -n "$(ulimit -Hn)"
# Where no more may be written to files, nodes get an error as from a full disk and no signal that ends them.
trap '' XFSZ
# A journal serves one size of the history, and a system that has booted again may report a little less memory.
if [ "$history" = auto ] && ! { read -r history < run/history-mib; } 2> /dev/null; then
    # A quarter of the memory for all nodes here together, and no more than a node takes by itself.
    history=$(awk '/^MemTotal:/ { print int($2 / 4096) }' /proc/meminfo)
    history=$((history / nodes))
    [ "$history" -ge 1 ] || history=1
    [ "$history" -le 2048 ] || history=2048
fi
if [ "$durability" != off ] && [ ! -e run/history-mib ]; then
    say "$history" > run/history-mib || fail "run/history-mib cannot be written"
fi
# A file without this line says that there is none.
wan=
! grep -q '^begins ' wan.txt 2> /dev/null || wan=$real/wan.txt
for place in $places; do
    id=${place%%:*} role=${place##*:} journal=journal-${place%%:*}
    metrics=${place#*:} metrics=${metrics%:*}
    [ "$metrics" != none ] || metrics=
    if is_up "$id"; then say "already $id $pid"; continue; fi
    program=node behaviour=
    case $role in byzantine=*)
        program=byzantine_node behaviour=${role#*=} journal=
        [ -x "$dir/bin/$program" ] || fail "$dir/bin/$program is missing; tools deploy run brings it"
        ;;
    esac
    follow=
    if [ "$role" = follower ]; then
        [ -e "keys/node-$id.used" ] ||
            fail "the keys of node $id have not served a start, so it would sign: it cannot only follow"
        follow=--follow journal=
    fi
    [ "$role" = follower ] || [ "$durability" != off ] || [ ! -d "$journal" ] ||
        fail "node $id goes on from its journal with --durability process or power; tools deploy install --new-keys begins anew"
    [ "$role" = follower ] || [ -d "$journal" ] || [ ! -e "keys/node-$id.used" ] ||
        fail "the keys of node $id have served a start, and keys serve one without a journal; tools deploy install --new-keys brings others"
    [ -z "$journal" ] || [ ! -d "$journal" ] || say "resumed $id"
    [ "$durability" != off ] || journal=
    rm -f "run/node-$id.pid" "run/node-$id.stdin"
    # What it reads says when to stop. Opened for both directions, it neither blocks nor ends.
    mkfifo "run/node-$id.stdin" || fail "run/node-$id.stdin cannot be made"
    # The full path, so that what lies in the run directory is known by it.
    setsid "$real/bin/$program" ${behaviour:+--behaviour "$behaviour"} --id "$id" --stop-on-stdin-line \
        --hosts "$real/hosts.txt" --keys "$real/keys" --log-dir "$real/log" \
        --history-mib "$history" ${metrics:+--metrics "$metrics"} \
        ${journal:+--journal "$real/$journal" --durability "$durability"} ${follow:+--follow} ${wan:+--wan "$wan"} "$@" \
        0<> "run/node-$id.stdin" > /dev/null 2>> "log/stderr-$id.txt" &
    pid=$!
    printf '%s %s %s\n' "$pid" "$(started "$pid")" "$boot" > "run/node-$id.pid" || fail "run/node-$id.pid cannot be written"
    say "started $id $pid"
done
finish
