# ON_S OFF_S TURNS FILE PID...: stops processes for OFF_S and lets them run for ON_S in turn, TURNS times at most, as
# long as FILE exists. They run when it ends by itself; whoever kills it must let them run on.
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
