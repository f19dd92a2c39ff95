# DIR: the files in the log directory, and those of journals.
is_marked || fail "$dir is not there"
say "testbed $(head -n 1 "$marker")"
cd "$dir/log" || fail "$dir/log cannot be entered"
for name in *; do
    if [ -f "$name" ] && [ ! -L "$name" ]; then say "log $(wc -c < "$name" | tr -d ' ') $name"; fi
done
cd "$dir" || fail "$dir cannot be entered"
for path in journal-*/journal-* journal-*/snapshot-*; do
    if [ -f "$path" ] && [ ! -L "$path" ]; then say "journal $(wc -c < "$path" | tr -d ' ') $path"; fi
done
finish
