# DIR ID LINE...: writes these lines to the standard input of node ID, which must run.
id=$1
shift
is_up "$id" || fail "node $id does not run"
# Opened for both directions, since a pipe that nobody reads would block.
printf '%s\n' "$@" 1<> "$dir/run/node-$id.stdin" || fail "run/node-$id.stdin cannot be written"
say "written $#"
finish
