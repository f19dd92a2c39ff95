# Begins every script. POSIX sh and what any Linux has; awk's ENVIRON instead of -v, which would read backslashes.
# The arguments have been set above; the first is the run directory, from the home directory unless it begins with /.
set -u
LC_ALL=C
export LC_ALL
PATH="$PATH:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
umask 077
say() { printf '%s\n' "$*"; }
finish() { say "dumbo-testbed end"; exit 0; }
# What the person must know; nothing more is done here.
fail() { say "error $*"; finish; }
say "dumbo-testbed begin"

case $1 in /*) dir=$1 ;; *) dir=$HOME/$1 ;; esac
shift
marker=$dir/dumbo-testbed.marker
# Where it really is, as /proc tells paths.
real=$(cd "$dir" 2>/dev/null && pwd -P) || real=
boot=$(cat /proc/sys/kernel/random/boot_id)

is_marked() { [ -f "$marker" ] && [ ! -L "$dir" ]; }
# What else is in a directory that is not ours; nothing if it is empty or not there.
foreign_entry() { is_marked || ls -A "$dir" 2>/dev/null | head -n 1; }

# The ids of processes whose executable lies in the run directory: of nobody else's.
own_processes() {
    [ -n "$real" ] || return 0
    ls -l /proc/[0-9]*/exe 2>/dev/null | BIN="$real/bin/" awk '{
        at = index($0, " -> ")
        if (at && index(substr($0, at + 4), ENVIRON["BIN"]) == 1 && match($0, /\/proc\/[0-9]+\//))
            print substr($0, RSTART + 6, RLENGTH - 7)
    }'
}
# The time a process started, in ticks since boot: with the id, its name for good.
started() { stat_field "$1" 20; }
# Field $2 of what /proc tells of process $1, counted from after its name. No programs: this runs while others measure.
stat_field() {
    { read -r stat < "/proc/$1/stat"; } 2>/dev/null || return 1
    field=$2
    # The name may hold spaces and parentheses; the last one ends it. Unquoted, to have the fields apart.
    set -- ${stat##*) }
    eval "printf '%s\n' \"\${$field}\""
}
# Whether node $1 runs; sets pid and ticks.
is_up() {
    pid= ticks= at_boot=
    { read -r pid ticks at_boot < "$dir/run/node-$1.pid"; } 2>/dev/null || return 1
    [ "$at_boot" = "$boot" ] && [ -n "$ticks" ] && [ "$(started "$pid")" = "$ticks" ] &&
        case $(readlink "/proc/$pid/exe" 2>/dev/null) in "$real/bin/"*) true ;; *) false ;; esac
}
# The ids of the processes of node $1 if it runs, its first one first.
family_of() {
    is_up "$1" || return 1
    parent=$pid
    say "$parent"
    for child in $(own_processes); do
        if [ "$(stat_field "$child" 2)" = "$parent" ]; then say "$child"; fi
    done
}
# The ids of the nodes that were started here.
recorded() { (cd "$dir/run" 2>/dev/null && ls node-*.pid 2>/dev/null) | sed 's/^node-\([0-9]*\)\.pid$/\1/' | sort -n; }
say_running() { for id in $(recorded); do if is_up "$id"; then say "running $id $pid"; fi; done; }
# The journals of nodes that are here, and their KiB.
say_journals() {
    for path in "$dir"/journal-*; do
        [ ! -d "$path" ] || say "journal ${path##*-} $(du -sk "$path" | cut -f 1)"
    done
}
nap() { sleep 0.1 2>/dev/null || sleep 1; }
