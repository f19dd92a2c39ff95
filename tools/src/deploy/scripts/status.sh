# DIR DEPTH: the nodes that were started here, and every process of ours.
if ! is_marked; then say absent yes; finish; fi
say "testbed $(head -n 1 "$marker")"
# Looked at often while a run is on: then nothing is started for it that is not needed.
if [ "$1" = full ]; then
    [ ! -x "$dir/bin/node" ] || say "version $("$dir/bin/node" --version 2>&1 | head -n 1)"
    say_journals
fi
for id in $(recorded); do
    if is_up "$id"; then
        say "node $id $pid $ticks"
    else
        words=$(cat "$dir/log/stderr-$id.txt" 2>/dev/null | tail -n 1 | cut -c 1-300)
        [ -n "$words" ] || words=$(tail -n 1 "$dir/log/consensus-node-$id.log" 2>/dev/null | cut -c 1-300)
        say "gone $id $words"
    fi
done
for pid in $(own_processes); do
    { read -r stat < "/proc/$pid/stat"; } 2>/dev/null || continue
    peak=0
    resident=0
    # VmRSS comes after VmHWM.
    while read -r key value rest; do
        if [ "$key" = VmHWM: ]; then peak=$value; fi
        if [ "$key" = VmRSS: ]; then resident=$value; break; fi
    done 2>/dev/null < "/proc/$pid/status"
    say "process $peak $resident $stat"
done
finish
