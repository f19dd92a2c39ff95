# DIR ID...: lets the processes of those nodes write to no file any more; the hard limit stays.
command -v prlimit > /dev/null || fail "there is no prlimit (util-linux), which a full disk needs"
for id in "$@"; do
    family=$(family_of "$id") || fail "node $id does not run"
    # The core comes last: it ends as soon as it notices, and its children with it.
    core=${family%%[!0-9]*}
    for pid in ${family#"$core"} "$core"; do
        why=$(prlimit "--pid=$pid" --fsize=0: 2>&1) || [ ! -d "/proc/$pid" ] || fail "$why"
    done
done
finish
