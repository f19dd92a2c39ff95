# DIR PATIENCE_S PROGRAM ID...: kills that program of those nodes at once; of node all three, its parent first.
patience=$1 program=$2
shift 2
victims=
for id in "$@"; do
    is_up "$id" || continue
    parent=$pid
    [ "$program" != node ] || victims="$victims $parent"
    for pid in $(own_processes); do
        { read -r name < "/proc/$pid/comm"; } 2>/dev/null || continue
        [ "$(stat_field "$pid" 2)" = "$parent" ] || continue
        if [ "$program" = node ] || [ "$name" = "$program" ]; then victims="$victims $pid"; fi
    done
done
for pid in $victims; do kill -s KILL "$pid" 2>/dev/null && say "killed $pid"; done
# Ports and journals are free once all are gone.
deadline=$(($(date +%s) + patience))
for pid in $victims; do
    while case $(readlink "/proc/$pid/exe" 2>/dev/null) in "$real/bin/"*) true ;; *) false ;; esac; do
        [ "$(date +%s)" -lt "$deadline" ] || fail "process $pid cannot be ended"
        nap
    done
done
finish
