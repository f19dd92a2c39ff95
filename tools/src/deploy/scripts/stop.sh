# DIR PATIENCE_S: stops all nodes here.
if ! is_marked; then say absent yes; finish; fi
stop_all "$1"
finish
