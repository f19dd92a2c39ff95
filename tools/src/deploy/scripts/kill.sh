# DIR PROGRAM ID...: kills that program of those nodes at once; of node all three, its parent first.
program=$1
shift
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
finish
