# DIR, then SUM MODE PATH triples: what has come as PATH.part and is whole becomes PATH.
cd "$dir" || fail "$dir cannot be entered"
while [ $# -ge 3 ]; do
    if [ "$(sha256sum "$3.part" | cut -d ' ' -f 1)" = "$1" ] && chmod "$2" "$3.part" && mv -f "$3.part" "$3"; then
        say "placed $3"
    else
        rm -f "$3.part"
        fail "$3 did not arrive as it was sent"
    fi
    shift 3
done
finish
