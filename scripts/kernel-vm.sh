#!/bin/bash
# Runs a program under another kernel, in an emulated machine of its own (qemu, no KVM needed).
#
#   scripts/kernel-vm.sh fetch VERSION   gets a kernel of ci/kernels.txt, and the emulator, into target/kernels/
#   scripts/kernel-vm.sh build           builds the static kernel tests and agent; prints the paths of both
#   scripts/kernel-vm.sh run VERSION [--deadline SECONDS] [--env NAME=VALUE]... [--add PATH]... [--tool NAME]...
#                            PROGRAM [ARGUMENT]...
#
# PROGRAM must be static. It finds itself and what --add names under the same paths as here, and starts in the same
# directory. --tool adds a dynamic program with its libraries; otherwise user space is busybox and `ip`. /proc, /sys,
# tracefs, debugfs, bpf and cgroup2 are mounted. The machine's console goes to standard output; the exit code is the
# program's, 124 after the deadline (300 s), 125 when the machine could not run or stopped without a result.
set -euo pipefail
cd "$(dirname "$0")/.."

ROOT=$PWD
HOST=x86_64-unknown-linux-gnu
LIBRARIES=/usr/lib/x86_64-linux-gnu
KERNELS=$ROOT/target/kernels
STATIC=$ROOT/target/static
# The oldest emulator known to run every kernel to its end.
EMULATOR=10
# Loaded where the kernel has them as modules; what they need comes along.
MODULES="veth cls_bpf sch_ingress dummy tun tcp_diag udp_diag unix_diag"

main() {
    case ${1:-} in
    fetch | build | run) "$@" ;;
    *)
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
        exit 2
        ;;
    esac
}

fail() {
    echo "kernel-vm: $*" >&2
    exit 125
}

# target/kernels/VERSION/{vmlinuz,release,modules/}; `complete` names the packages and is written last.
fetch() {
    local version=$1 at=$KERNELS/$1 suite patterns package file
    local -a packages=()
    emulator >/dev/null || fail "no emulator"
    [ -e "$at/complete" ] && return
    read -r suite patterns < <(awk -v v="$version" '$1 == v { $1 = ""; print }' "$ROOT/ci/kernels.txt") ||
        fail "no kernel $version in ci/kernels.txt"
    rm -rf "$at"
    mkdir -p "$at/packages" "$at/root"
    read_lists "$suite"
    for package in $patterns; do
        packages+=("$(newest "$suite" "$package")")
        [ -n "${packages[-1]}" ] || fail "no package $package in $suite"
    done
    echo "kernel-vm: $version is ${packages[*]}"
    (cd "$at/packages" && apt "$suite" apt-get download -qq "${packages[@]}") || fail "cannot get ${packages[*]}"
    for file in "$at"/packages/*.deb; do
        dpkg-deb -x "$file" "$at/root"
    done
    # Below /boot, or in newer packages beside the modules.
    cp "$(find "$at/root" -type f -name 'vmlinuz*' -print -quit)" "$at/vmlinuz"
    modules "$at"
    rm -rf "$at/root" "$at/packages" "$KERNELS/apt/$suite"
    echo "${packages[*]}" >"$at/complete"
}

# The words that start qemu, a line each. The one of Debian 12 now and then runs a breakpoint that the
# kernel has patched out again, so there the one of its backports is unpacked beside the kernels.
emulator() {
    local at=$KERNELS/qemu suite=bookworm-backports file
    local -a packages=(qemu-system-x86 qemu-system-common qemu-system-data seabios)
    if [ "$(emulator_version qemu-system-x86_64)" -ge $EMULATOR ] ||
        ! grep -qs 'VERSION_CODENAME=bookworm' /etc/os-release; then
        echo qemu-system-x86_64
        return
    fi
    if [ ! -e "$at/complete" ]; then
        rm -rf "$at"
        mkdir -p "$at/packages"
        read_lists "$suite" >&2
        (cd "$at/packages" && apt "$suite" apt-get download -qq "${packages[@]}" >&2) ||
            fail "cannot get qemu of $suite"
        for file in "$at"/packages/*.deb; do
            dpkg-deb -x "$file" "$at"
        done
        rm -rf "$at/packages" "$KERNELS/apt/$suite"
        touch "$at/complete"
    fi
    printf '%s\n' env "QEMU_MODULE_DIR=$at$LIBRARIES/qemu" "$at/usr/bin/qemu-system-x86_64" \
        -L "$at/usr/share/qemu" -L "$at/usr/share/seabios"
}

emulator_version() {
    local said
    said=$("$1" --version)
    [[ $said =~ version\ ([0-9]+) ]] && echo "${BASH_REMATCH[1]}"
}

# apt SUITE COMMAND...: with lists and a cache of its own, so that the machine's are left alone.
apt() {
    local state=$KERNELS/apt/$1 command=$2
    shift 2
    "$command" -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root "$@"
}

read_lists() {
    local state=$KERNELS/apt/$1
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $1 main" >"$state/sources.list"
    apt "$1" apt-get update -qq || fail "cannot read the package lists of $1"
}

# The Debian mirror that this machine is configured with.
mirror() {
    local found
    found=$(find /etc/apt/sources.list /etc/apt/sources.list.d -type f -exec grep -hv '^ *#' {} + 2>/dev/null |
        grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1) || true
    echo "${found:-http://deb.debian.org/debian}"
}

# newest SUITE PATTERN: the highest version among the packages of that name.
newest() {
    local package
    apt "$1" apt-cache pkgnames | grep -v -e '-dbg$' -e unsigned | while read -r package; do
        # shellcheck disable=SC2053 # the right side is a pattern
        [[ $package != $2 ]] || echo "$package"
    done | sort -V | tail -n 1
}

# Keeps the modules wanted and what they need, unpacked, with a modules.dep for modprobe.
modules() {
    local at=$1 tree release name
    tree=$(find "$at/root" -type d -path '*/lib/modules/*' -print -quit)
    release=$(basename "$tree")
    echo "$release" >"$at/release"
    find "$tree" -name '*.ko.xz' -exec xz -d {} +
    find "$tree" -name '*.ko.zst' -exec zstd -q -d --rm {} +
    # busybox's depmod looks below /lib/modules of its base; newer packages have theirs below /usr.
    busybox depmod -b "${tree%/lib/modules/*}" "$release"
    mkdir -p "$at/modules/lib/modules/$release"
    for name in $MODULES; do
        grep -E "(^|/)${name//_/[_-]}\.ko:" "$tree/modules.dep" || true
    done | tr -d : | tr ' ' '\n' | sort -u | sed "s,^/lib/modules/$release/,," | grep . |
        (cd "$tree" && xargs cp --parents -t "$at/modules/lib/modules/$release")
    busybox depmod -b "$at/modules" "$release"
}

# The kernel tests and the agent as static programs, optimised a little, since the emulator is slow.
build() {
    static_libpcap
    RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 \
        LIBBPF_SYS_LIBRARY_PATH="$STATIC/lib:$LIBRARIES" LIBPCAP_LIBDIR="$STATIC/lib" \
        cargo test --locked --no-run --test kernel --features libbpf-sys/static --target $HOST \
        --target-dir "$STATIC" --message-format json-render-diagnostics >"$STATIC/build.json" || fail "the static build failed"
    # Cargo names them in no fixed order; the agent comes first.
    jq -rs 'map(select(.executable != null)) | sort_by(.target.kind != ["bin"]) | .[].executable' "$STATIC/build.json"
}

# Debian's libpcap.a can capture from D-Bus, and so wants libdbus and libsystemd, which has no archive: leave that out.
static_libpcap() {
    [ "$STATIC/lib/libpcap.a" -nt $LIBRARIES/libpcap.a ] && return
    mkdir -p "$STATIC/lib"
    printf '%s\n' \
        'void *dbus_create(const char *device, char *error, int *is_ours) { *is_ours = 0; return 0; }' \
        'int dbus_findalldevs(void *devices, char *error) { return 0; }' |
        gcc -x c -O2 -c -o "$STATIC/lib/pcap-dbus.o" -
    cp $LIBRARIES/libpcap.a "$STATIC/lib/libpcap.new"
    ar r "$STATIC/lib/libpcap.new" "$STATIC/lib/pcap-dbus.o"
    mv "$STATIC/lib/libpcap.new" "$STATIC/lib/libpcap.a"
}

run() {
    local version=$1 deadline=300 at boot code
    local -a qemu=() adds=() tools=(ip) settings=()
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --deadline) deadline=$2 ;;
        --env) settings+=("$2") ;;
        --add) adds+=("$2") ;;
        --tool) tools+=("$2") ;;
        *) break ;;
        esac
        shift 2
    done
    [ $# -gt 0 ] || fail "no program to run"
    fetch "$version"
    mapfile -t qemu < <(emulator)
    [ ${#qemu[@]} -gt 0 ] || fail "no emulator"
    at=$KERNELS/$version
    boot=$(mktemp -d "$KERNELS/boot.XXXXXX")
    # shellcheck disable=SC2064 # this very directory
    trap "rm -rf '$boot'" EXIT
    root_tree "$boot/root" "$at" "$@"
    (cd "$boot/root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$boot/initramfs"
    echo "kernel-vm: $version is $(cat "$at/release"), initramfs $(du -m "$boot/initramfs" | cut -f1) MB"
    for _ in 1 2 3; do
        code=0
        # Without cx16: under this emulator a compare-and-swap of 16 bytes now and then faults twice in 6.12's allocator.
        timeout -k 5 "$deadline" "${qemu[@]}" -accel tcg,thread=multi -cpu max,-cx16 -m 1536 -smp 2 -no-reboot \
            -display none -monitor none -serial stdio -kernel "$at/vmlinuz" -initrd "$boot/initramfs" \
            -append 'console=ttyS0 panic=-1 oops=panic quiet' </dev/null |
            tr -d '\r' | tee "$boot/console" | grep --line-buffered -v '^kernel-vm-exit ' || code=${PIPESTATUS[0]}
        if [ "$code" -eq 124 ]; then
            echo "kernel-vm: $version: nothing left after the deadline of $deadline s" >&2
            exit 124
        fi
        code=$(sed -n 's/^kernel-vm-exit \([0-9]*\)$/\1/p' "$boot/console")
        [ -z "$code" ] || exit "$code"
        # Now and then the emulator runs a breakpoint that the kernel has patched out again.
        grep -q 'Oops: int3' "$boot/console" || break
        echo "kernel-vm: $version: the emulator failed, once more" >&2
    done
    fail "$version: the machine stopped without a result"
}

# root_tree DIRECTORY KERNEL PROGRAM ARGUMENT...: what the machine finds; adds, tools and settings are run's.
root_tree() {
    local root=$1 at=$2 path
    shift 2
    mkdir -p "$root"/{bin,sbin,dev,proc,sys,tmp,run,root,etc,lib64,"$ROOT"}
    chmod 755 "$root"
    chmod 1777 "$root/tmp"
    cp /bin/busybox "$root/bin/busybox"
    cp -r "$at/modules/lib" "$root/"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    for path in "${tools[@]}"; do
        add_tool "$root" "$(command -v "$path")"
    done
    for path in "${adds[@]}" "$1"; do
        add "$root" "$(realpath "$path")"
    done
    set -- "$(realpath "$1")" "${@:2}"
    init "$(cat "$at/release")" "$@" >"$root/init"
    chmod 755 "$root/init"
}

# A file without its debug information, or a directory.
add() {
    mkdir -p "$1$(dirname "$2")"
    cp -r "$2" "$1$2"
    if [ -f "$2" ]; then strip -g "$1$2" 2>/dev/null || true; fi
}

add_tool() {
    local library
    install -D "$(realpath "$2")" "$1$2"
    ldd "$2" | grep -oE '/[^ ]+' | while read -r library; do
        install -D "$(realpath "$library")" "$1$library"
    done
}

# init RELEASE PROGRAM ARGUMENT...: prints the machine's first program.
init() {
    local release=$1
    shift
    cat <<END
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root ${settings[*]@Q}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in $MODULES; do modprobe \$module 2>/dev/null; done
ip link set lo up
echo "kernel \$(uname -r)"
cd ${ROOT@Q}
${*@Q} </dev/null
code=\$?
echo
echo "kernel-vm-exit \$code"
sync
poweroff -f
END
}

main "$@"
