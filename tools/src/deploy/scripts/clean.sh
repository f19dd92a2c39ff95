# DIR PATIENCE_S: stops all nodes here and removes the run directory, if it is ours.
found=$(foreign_entry)
[ -z "$found" ] || fail "$dir was not made by tools deploy (it holds $found) and is left as it is"
if [ ! -e "$dir" ]; then say absent yes; finish; fi
[ ! -L "$dir" ] || fail "$dir is a symbolic link and is left as it is"
if is_marked; then
    stop_all "$1"
    cd / || exit 1
    # The marker goes last: what is left after a failure is still known to be ours.
    for entry in "$dir"/* "$dir"/.[!.]* "$dir"/..?*; do
        [ "$entry" = "$marker" ] || rm -rf "$entry" || fail "$entry cannot be removed"
    done
    rm -f "$marker"
fi
rmdir "$dir" || fail "$dir cannot be removed"
say removed yes
finish
