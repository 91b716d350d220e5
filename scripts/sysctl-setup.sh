#!/bin/sh
# Kernel settings that the agent profits from: scripts/sysctl-setup.sh [--check | --persist]
#
# Without an argument they are set until the next boot, with --persist for later boots too (/etc/sysctl.d).
# --check only looks; its exit code is 1 when one differs. Run again it changes nothing.
set -eu

# PROC_SYS and SYSCTL_D may point elsewhere: to a host's directories mounted into a container.
proc=${PROC_SYS:-/proc/sys}
file=${SYSCTL_D:-/etc/sysctl.d}/60-tawon.conf

# Setting, what holds, value. Each with its reason:
# kernel.bpf_stats_enabled     run_time_ns and run_cnt of BPF programs, which the agent exports; about 85 ns per run.
# kernel.perf_event_paranoid   at 3 (Debian's default) perf rings need CAP_SYS_ADMIN; 2 is the kernel's own default.
# net.core.bpf_jit_enable      interpreted programs cost several times as much.
settings="
kernel.bpf_stats_enabled     exactly  1
kernel.perf_event_paranoid   at-most  2
net.core.bpf_jit_enable      at-least 1
"

main() {
    case ${1:-} in
    '') each set_now ;;
    --check) each compare ;;
    --persist)
        each set_now
        persist
        ;;
    *)
        sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
    esac
}

# each COMMAND: for every setting COMMAND NAME PATH RELATION VALUE; fails when one of them does.
each() {
    failed=0
    while read -r name relation value; do
        if [ -n "$name" ]; then
            "$1" "$name" "$proc/$(echo "$name" | tr . /)" "$relation" "$value" || failed=1
        fi
    done <<END
$settings
END
    return $failed
}

# holds PATH RELATION VALUE
holds() {
    now=$(cat "$1")
    case $2 in
    exactly) [ "$now" -eq "$3" ] ;;
    at-most) [ "$now" -le "$3" ] ;;
    at-least) [ "$now" -ge "$3" ] ;;
    esac
}

compare() {
    if [ ! -e "$2" ]; then
        echo "$1: this kernel or namespace does not have it"
    elif holds "$2" "$3" "$4"; then
        echo "$1 = $(cat "$2")"
    else
        echo "$1 = $(cat "$2"), should be $(echo "$3" | tr - ' ') $4"
        return 1
    fi
}

set_now() {
    if [ -e "$2" ] && ! holds "$2" "$3" "$4"; then
        if ! { echo "$4" >"$2"; } 2>/dev/null; then
            echo "$1 cannot be set to $4: $2 is not writable here (root and a writable /proc/sys are needed)" >&2
            return 1
        fi
    fi
    compare "$@"
}

# Written down as they are now, so that a stricter or looser value of the machine's owner that holds is kept.
persist() {
    wanted=$(
        echo "# Written by sysctl-setup.sh for the tawon agent."
        each line
    )
    if [ "$(cat "$file" 2>/dev/null || true)" != "$wanted" ]; then
        mkdir -p "${file%/*}"
        echo "$wanted" >"$file.new"
        mv "$file.new" "$file"
    fi
    echo "$file"
}

line() {
    if [ -e "$2" ]; then
        echo "$1 = $(cat "$2")"
    fi
}

main "$@"
