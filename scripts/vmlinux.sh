#!/bin/bash
# Keeps the kernel types that the BPF programs use, bpf/lib/vmlinux/<arch>/vmlinux.h, true to real kernels.
#
#   scripts/vmlinux.sh check [KERNEL]...   each type, field and enumerator of the header must be in the kernel's BTF,
#                                          numbers and arrays with the same size of element
#   scripts/vmlinux.sh show TYPE [KERNEL]  the kernel's own definition of a struct or union, to copy fields from
#
# KERNEL is a version of ci/kernels.txt or a file with BTF; without one it is the running kernel.
#
# The header is written by hand: only the fields that programs read. CO-RE finds their offsets at load, so order and
# what is left out do not matter, names and types do. A field that some kernels name otherwise stands in the type, and
# the other name in a flavour of it (`struct kernfs_node___before_6_15`); one of the two must be there. What is not in
# every kernel has a comment on its line that begins with "since", "until" or "not where".
set -euo pipefail
cd "$(dirname "$0")/.."

ARCH=$(uname -m)
HEADER=bpf/lib/vmlinux/$ARCH/vmlinux.h
RUNNING=/sys/kernel/btf/vmlinux
WORK=target/vmlinux

main() {
    local command=${1:-} kernel failed=0
    [ $# -gt 0 ] && shift
    mkdir -p $WORK
    case $command in
    check)
        header_btf
        for kernel in "${@:-$RUNNING}"; do
            compare "$kernel" || failed=1
        done
        exit $failed
        ;;
    show) show "$1" "$(btf "${2:-$RUNNING}")" ;;
    *)
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
        exit 2
        ;;
    esac
}

# The BTF of every type of the header. clang writes down only what is used, so a variable of each type is declared.
header_btf() {
    local clang version
    for version in $(seq 30 -1 14); do
        clang=$(command -v "clang-$version") && break
    done
    {
        echo '#include "vmlinux.h"'
        sed -nE \
            -e 's/^(struct|union|enum) ([a-zA-Z0-9_]+) \{( \/\*.*)?$/\1 \2 tawon_\1_\2;/p' \
            -e 's/^\} ([a-zA-Z0-9_]+);( \/\*.*)?$/\1 tawon_typedef_\1;/p' "$HEADER"
    } | "$clang" -target bpf -g -O2 -I"${HEADER%/*}" -x c -c -o $WORK/header.o -
    sed -nE 's,.*\b([a-zA-Z0-9_]+)(\[[^]]*\])?( : [0-9]+)?(;| \{) /\* (since|until|not where) .*,\1,p' "$HEADER" \
        >$WORK/optional.txt
    bpftool btf dump file $WORK/header.o format raw >$WORK/header.txt
}

# btf KERNEL: prints a file with its BTF.
btf() {
    if [ -e "$1" ]; then
        echo "$1"
    else
        scripts/kernel-vm.sh fetch "$1" >&2
        [ -e "$WORK/$1.btf" ] || unpack "target/kernels/$1/vmlinuz" "$WORK/$1.btf" || return
        echo "$WORK/$1.btf"
    fi
}

# unpack IMAGE FILE: the BTF of a bzImage, whose header says where the compressed kernel lies (boot protocol 2.08).
unpack() {
    local start length
    start=$((($(number "$1" 0x1f1 1) + 1) * 512 + $(number "$1" 0x248 4)))
    length=$(number "$1" 0x24c 4)
    # The last four bytes are the length of the kernel unpacked.
    tail -c +$((start + 1)) "$1" | head -c $((length - 4)) >$WORK/packed || true
    case $(od -An -tx1 -N4 $WORK/packed | tr -d ' ') in
    28b52ffd) zstd -q -dc --long=31 $WORK/packed >$WORK/vmlinux.elf ;;
    fd377a58) xz -dc $WORK/packed >$WORK/vmlinux.elf ;;
    1f8b*) gzip -dc $WORK/packed >$WORK/vmlinux.elf ;;
    02214c18) lz4 -q -dc $WORK/packed >$WORK/vmlinux.elf ;;
    *)
        echo "vmlinux.sh: $1 is packed in a way that is not known here" >&2
        return 1
        ;;
    esac
    objcopy --dump-section .BTF="$2" $WORK/vmlinux.elf $WORK/vmlinux.copy
    rm $WORK/packed $WORK/vmlinux.elf $WORK/vmlinux.copy
}

# number FILE OFFSET SIZE: an unsigned little-endian number.
number() {
    od -An -v -tu"$3" -j"$2" -N"$3" "$1" | tr -d ' '
}

show() {
    bpftool btf dump file "$2" format c | sed -nE "/^(struct|union|enum) $1 \{$/,/^\}/p"
}

compare() {
    local file
    file=$(btf "$1") || return
    bpftool btf dump file "$file" format raw >$WORK/kernel.txt
    echo "$1:"
    awk '
        FILENAME ~ /optional.txt$/ { optional[$1] = 1; next }
        FNR == 1 { f++ }
        /^\[/ {
            id = substr($1, 2, length($1) - 2); kind[f, id] = $2; name[f, id] = substr($3, 2, length($3) - 2)
            size[f, id] = value("size"); to[f, id] = value("type_id"); count[f, id] = 0
            if (!((f, $2, name[f, id]) in named)) named[f, $2, name[f, id]] = id
            last[f] = id + 0
            next
        }
        {
            i = ++count[f, id]; member[f, id, i] = substr($1, 2, length($1) - 2)
            of[f, id, i] = value("type_id"); bits[f, id, i] = value("bitfield_size")
            if (kind[f, id] ~ /^ENUM/) enumerator[f, member[f, id, i]] = 1
        }
        END {
            for (t = 1; t <= last[1]; t++) {
                word = name[1, t]
                if (kind[1, t] ~ /^(STRUCT|UNION)$/ && word != "(anon)") type(word, t, named[2, kind[1, t], base(word)])
                if (kind[1, t] == "TYPEDEF" && kind[1, to[1, t]] == "STRUCT" && name[1, to[1, t]] == "(anon)")
                    type(word, to[1, t], target(2, named[2, "TYPEDEF", word]))
                if (kind[1, t] ~ /^ENUM/)
                    for (i = 1; i <= count[1, t]; i++) enum_value(word, member[1, t, i])
            }
            for (field in missing) {
                split(field, part, SUBSEP)
                if (other[part[1]]) print "  note: " part[1] "." part[2] " is named otherwise here"
                else if (part[2] in optional) print "  note: " part[1] "." part[2] " is not here"
                else { print "  missing: " part[1] "." part[2]; bad++ }
            }
            print "  " fields + 0 " fields and enumerators compared, " bad + 0 " wrong"
            exit bad > 0 || fields == 0
        }
        function value(key) {
            return match($0, " " key "=[0-9]+") ? substr($0, RSTART + length(key) + 2, RLENGTH - length(key) - 2) : ""
        }
        function base(word) { sub(/___.*/, "", word); return word }
        function type(word, mine, theirs,   i, field, found) {
            if (theirs == "") {
                if (word in optional) print "  note: " word " is not here"
                else if (word !~ /___/) { print "  missing: " word; bad++ }
                return
            }
            for (i = 1; i <= count[1, mine]; i++) {
                field = member[1, mine, i]
                if (field == "(anon)") { type(word, target(1, of[1, mine, i]), theirs); continue }
                fields++
                found = find(theirs, field)
                if (found == "") {
                    if (word !~ /___/) missing[word, field] = 1
                    continue
                }
                if (word ~ /___/) other[base(word)] = 1
                if (bits[1, mine, i] == "" && found ~ /^t/ && width(1, of[1, mine, i]) != width(2, substr(found, 2))) {
                    print "  other size: " word "." field ": " width(1, of[1, mine, i]) " here, " \
                        width(2, substr(found, 2)) " in the kernel"
                    bad++
                }
            }
        }
        function enum_value(word, value_name) {
            # What the header names for itself, without a type, are macros of the kernel.
            if (word == "(anon)") return
            fields++
            if (!((2, value_name) in enumerator)) { print "  note: enumerator " value_name " is not here" }
        }
        # A field of the kernel or of its anonymous members: "t" and its type, "b" for a bit field, "" when absent.
        function find(in_type, field,   i, found) {
            for (i = 1; i <= count[2, in_type]; i++) {
                if (member[2, in_type, i] == field) return (bits[2, in_type, i] != "" ? "b" : "t") of[2, in_type, i]
                if (member[2, in_type, i] == "(anon)") {
                    found = find(target(2, of[2, in_type, i]), field)
                    if (found != "") return found
                }
            }
            return ""
        }
        function target(file, t) {
            while (kind[file, t] ~ /^(TYPEDEF|CONST|VOLATILE|RESTRICT|TYPE_TAG)$/) t = to[file, t]
            return t
        }
        # Of a number or a pointer; of an array its element; 0 for what is compared field by field.
        function width(file, t) {
            t = target(file, t)
            if (kind[file, t] == "PTR") return 8
            if (kind[file, t] == "ARRAY") return width(file, to[file, t])
            return kind[file, t] ~ /^(INT|ENUM|ENUM64)$/ ? size[file, t] : 0
        }' $WORK/optional.txt $WORK/header.txt $WORK/kernel.txt
}

main "$@"
