# DIR PATIENCE_S SIGNAL all|node|net_client|net_server ID...: sends a signal to all processes of those nodes, parents
# first, or to one of each; after KILL it waits until they are gone, of killed parents their children too.
patience=$1 signal=$2 program=$3
shift 3
victims= families=
for id in "$@"; do
    for pid in $(family_of "$id"); do
        families="$families $pid"
        { read -r name < "/proc/$pid/comm"; } 2>/dev/null || continue
        if [ "$program" = all ] || [ "$name" = "$program" ]; then victims="$victims $pid"; fi
    done
done
for pid in $victims; do kill -s "$signal" "$pid" 2>/dev/null && say "signalled $pid"; done
[ "$signal" = KILL ] || finish
case $program in all | node) ;; *) families=$victims ;; esac
# Ports and journals are free once all are gone.
deadline=$(($(date +%s) + patience))
for pid in $families; do
    while case $(readlink "/proc/$pid/exe" 2>/dev/null) in "$real/bin/"*) true ;; *) false ;; esac; do
        [ "$(date +%s)" -lt "$deadline" ] || fail "process $pid cannot be ended"
        nap
    done
done
finish
