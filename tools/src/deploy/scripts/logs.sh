# DIR: the files in the log directory.
is_marked || fail "$dir is not there"
cd "$dir/log" || fail "$dir/log cannot be entered"
for name in *; do
    if [ -f "$name" ] && [ ! -L "$name" ]; then say "log $(wc -c < "$name" | tr -d ' ') $name"; fi
done
finish
