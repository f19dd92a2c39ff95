# Asks all nodes here to stop, waits at most $1 seconds, and then ends every process of ours.
stop_all() {
    asked=
    # A node that is slowed or paused would not read the request in time.
    rm -f "$dir"/run/slow-*
    for pid in $(own_processes); do kill -s CONT "$pid" 2>/dev/null; done
    for id in $(recorded); do
        if is_up "$id"; then
            # Opened for both directions, since a pipe that nobody reads would block.
            if printf 'stop\n' 1<> "$dir/run/node-$id.stdin"; then asked="$asked $id"; fi
        fi
    done
    deadline=$(($(date +%s) + $1))
    while [ -n "$(own_processes)" ] && [ "$(date +%s)" -lt "$deadline" ]; do
        # Nobody has been asked, so nobody will end for that.
        [ -n "$asked" ] || break
        nap
    done
    for id in $asked; do
        if is_up "$id"; then say "late $id"; else say "stopped $id"; fi
    done
    for signal in TERM KILL; do
        for turn in 1 2 3 4 5 6 7 8 9 10; do
            left=$(own_processes)
            [ -n "$left" ] || break 2
            if [ "$turn" = 1 ]; then
                for pid in $left; do
                    # Looked at again, since the id may be another's by now.
                    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
                        "$real/bin/"*) kill -s "$signal" "$pid" 2>/dev/null ;;
                    esac
                done
            fi
            nap
        done
    done
    left=$(own_processes)
    for pid in $left; do say "left $pid $(cat "/proc/$pid/comm" 2>/dev/null)"; done
    [ -n "$left" ] || rm -f "$dir"/run/node-*.pid "$dir"/run/node-*.stdin
}
