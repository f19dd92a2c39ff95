# DIR: asks the load that runs here to end and to sum up.
for pid in $(own_processes); do
    name=
    { read -r name < "/proc/$pid/comm"; } 2>/dev/null
    if [ "$name" = tools ]; then kill -s INT "$pid" 2>/dev/null; fi
done
finish
