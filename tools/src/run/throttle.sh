# ON_S OFF_S TURNS FILE PID...: lets processes run ON_S and stops them for OFF_S in turn, TURNS times at most, as long as
# FILE exists. They run in the end, however it ends: HUP, INT and TERM are blocked, and nobody kills it.
on=$1 off=$2 turns=$3 file=$4
shift 4
while [ "$turns" -gt 0 ] && [ -e "$file" ]; do
    kill -s STOP "$@" 2> /dev/null
    sleep "$off"
    kill -s CONT "$@" 2> /dev/null
    sleep "$on"
    turns=$((turns - 1))
done
kill -s CONT "$@" 2> /dev/null
