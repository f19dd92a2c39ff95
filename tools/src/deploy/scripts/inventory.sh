# DIR TESTBED PATH...: makes the run directory if there is none, and tells the digests of those files that are there.
testbed=$1
shift
found=$(foreign_entry)
[ -z "$found" ] || fail "$dir was not made by tools deploy (it holds $found); choose another with --remote-dir"
[ ! -L "$dir" ] || fail "$dir is a symbolic link; choose another with --remote-dir"
for id in $(recorded); do
    if is_up "$id"; then fail "node $id of testbed $(head -n 1 "$marker") runs there (pid $pid); tools deploy stop ends it"; fi
done
why=$(mkdir -p "$dir" 2>&1 && : 2>&1 >> "$marker") || fail "$dir cannot be made: $why"
# Of another testbed nothing is of use but what is the same, and its keys, logs and journals would only mislead.
if [ "$(cat "$marker" 2>/dev/null)" != "$testbed" ]; then
    rm -rf "$dir/keys" "$dir/log" "$dir/run" "$dir"/journal-*
fi
chmod 700 "$dir"
why=$(mkdir -p "$dir/bin" "$dir/keys" "$dir/log" "$dir/run" 2>&1) || fail "$dir cannot be filled: $why"
printf '%s\n' "$testbed" > "$marker" || fail "$marker cannot be written"
cd "$dir" || fail "$dir cannot be entered"
rm -f bin/*.part keys/*.part ./*.part
for path in "$@"; do
    if [ -f "$path" ]; then say "sum $(sha256sum "$path" | cut -d ' ' -f 1) $path"; fi
done
finish
