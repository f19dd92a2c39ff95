# DIR PORT_HEX...: what this host is, and what would be in the way of nodes on these ports.
say "system $(uname -s)"
say "architecture $(uname -m)"
say "cores $(getconf _NPROCESSORS_ONLN)"
say "memory_kib $(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)"
say "cpu $(awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)"
at=$dir
while [ ! -d "$at" ]; do at=$(dirname "$at"); done
say "free_kib $(df -Pk "$at" | awk 'NR == 2 { for (i = NF; i > 1; i--) if ($i ~ /%$/) { print $(i - 1); exit } }')"
[ -w "$at" ] || say "unwritable $at"
for tool in awk cut du head mkfifo readlink sed setsid sha256sum sort; do
    command -v "$tool" > /dev/null || say "missing $tool"
done
if is_marked; then say "testbed $(head -n 1 "$marker")"; fi
found=$(foreign_entry)
[ -z "$found" ] || say "foreign $found"
say_running
say_journals
awk '/\|--/ { a = $2 } /host LOCAL/ { print "address " a }' /proc/net/fib_trie 2>/dev/null | sort -u
awk '{ print "address6 " $1 }' /proc/net/if_inet6 2>/dev/null | sort -u
for port in "$@"; do
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        PORT=":$port" awk '$4 == "0A" && index($2, ENVIRON["PORT"]) { print $2, $10 }' |
        while read -r local inode; do
            owner=$(ls -l /proc/[0-9]*/fd 2>/dev/null | INODE="socket:[$inode]" awk '
                /^\/proc\// { split($0, parts, "/"); process = parts[3] }
                index($0, ENVIRON["INODE"]) { print process; exit }')
            say "listens $local ${owner:-0} $(cat "/proc/${owner:-0}/comm" 2>/dev/null)"
        done
done
finish
