# DIR SCRIPT ON_S OFF_S TURNS ID...: slows the processes of those nodes down by SCRIPT; with 0 turns, no longer.
script=$1 on=$2 off=$3 turns=$4
shift 4
for id in "$@"; do
    file=$real/run/slow-$id
    rm -f "$file"
    [ "$turns" != 0 ] || continue
    family=$(family_of "$id") || fail "node $id does not run"
    : > "$file" || fail "$file cannot be written"
    # Unquoted, to have the ids apart.
    setsid sh -c "$script" throttle "$on" "$off" "$turns" "$file" $family > /dev/null 2>&1 < /dev/null &
done
finish
