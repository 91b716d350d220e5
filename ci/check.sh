#!/bin/bash
# Every check of the project, the same on any machine: ci/check.sh <gate> [arguments]
#
#   fmt                 rustfmt
#   clippy              clippy, warnings are errors
#   shell               shellcheck over every script
#   tree                the rules of the source tree that no compiler knows
#   deny                licences, banned and duplicate crates (ci/deny.toml)
#   bpf                 every BPF object by itself, warnings are errors, and its licence
#   docs                rustdoc, warnings are errors
#   test [FILTER...]    unit, integration and documentation tests
#   bench-smoke         every bench once, in its quick mode
#   fuzz [S [TARGET..]] every fuzz target for S seconds (60; 20 in CI), as many at a time as there are processors
#   kernel [VERSION..]  the kernel tests under each kernel of ci/kernels.txt
#   all                 those that CI runs: all but bench-smoke, which is run by itself
#
# A gate prints its own findings and ends with "N passed, N failed, N skipped"; the exit code is 0 when nothing failed.
# Logs and build products are kept under target/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

ALL="fmt clippy shell tree deny bpf docs test kernel fuzz"
# Not in CI, and said at its end: benches, 6 minutes, are run by whoever changes what they measure.
APART="bench-smoke"
GATES="$ALL $APART"
HOST=x86_64-unknown-linux-gnu
LOGS=target/ci
VM_DEADLINE=3000
PASSED=0 FAILED=0 SKIPPED=0
export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
# Nobody opens a debugger or builds twice there: half of the time and space.
[ -z "${CI:-}" ] || export CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_INCREMENTAL=0
# What CI says of a change is of the change alone: the same inputs each time. Others are tried by whoever runs the gate.
[ -z "${CI:-}" ] || export FUZZ_SEED=${FUZZ_SEED:-1}

main() {
    local gate=${1:-}
    [ $# -gt 0 ] && shift
    mkdir -p "$LOGS"
    case " $GATES " in
    *" $gate "*) "gate_${gate//-/_}" "$@" ;;
    *)
        if [ "$gate" = all ]; then
            all
        else
            sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
            exit 2
        fi
        ;;
    esac
    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    [ "$FAILED" -eq 0 ]
}

# Each gate is a process of its own, so that none leaves anything behind in the next one's shell.
all() {
    local gate began table=""
    for gate in $ALL; do
        echo "== $gate"
        began=$SECONDS
        "$0" "$gate" </dev/null 2>&1 | tee "$LOGS/$gate.out"
        add_counts "gate $gate" "$LOGS/$gate.out"
        table+=$(printf '%-12s %5d s   %s' "$gate" $((SECONDS - began)) "$(tail -n 1 "$LOGS/$gate.out")")$'\n'
    done
    for gate in $APART; do
        echo "SKIPPED: gate $gate: run it by itself, ci/check.sh $gate"
        SKIPPED=$((SKIPPED + 1))
    done
    echo "== summary"
    printf '%s' "$table"
}

# add_counts NAME FILE: adds the counts in which what was printed ends, in a process of its own.
add_counts() {
    if [[ $(tail -n 1 "$2") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        PASSED=$((PASSED + BASH_REMATCH[1]))
        FAILED=$((FAILED + BASH_REMATCH[2]))
        SKIPPED=$((SKIPPED + BASH_REMATCH[3]))
    else
        echo "FAILED: $1 did not finish"
        FAILED=$((FAILED + 1))
    fi
}

# check NAME COMMAND...: one check; its output is shown when it fails.
check() {
    local name=$1 log
    shift
    log=$LOGS/check-${name//[^a-zA-Z0-9.]/_}.log
    if "$@" >"$log" 2>&1; then
        PASSED=$((PASSED + 1))
    else
        FAILED=$((FAILED + 1))
        tail -n 200 "$log"
        echo "FAILED: $name"
    fi
}

gate_fmt() {
    check "fmt" cargo fmt --check
    check "fmt of tests/fuzz" cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
}

gate_clippy() {
    check "clippy" cargo clippy --locked --all-targets -- -D warnings -D clippy::undocumented_unsafe_blocks
}

gate_shell() {
    local file
    while read -r file; do
        if head -n 1 "$file" | grep -qE '^#!/bin/(ba)?sh'; then
            check "shellcheck $file" shellcheck "$file"
        fi
    done < <(git ls-files -co --exclude-standard -- scripts ci .ci tests chart)
}

# Each rule is a pattern that may not occur in some files.
gate_tree() {
    local src='src/*.rs' rust='*.rs' all=('*.rs' '*.md' '*.sh' '*.toml' '*.yaml' '*.h' '*.c' 'scripts/*')
    absent "unsafe code outside src/kernel, tests/support and benches" \
        'allow\(unsafe_code\)|\bunsafe( fn| impl| extern| trait)? *\{|\bunsafe (fn|impl|extern|trait)\b' \
        "$rust" ':!src/kernel/' ':!src/lib.rs' ':!tests/support/' ':!tests/fuzz/' ':!benches/'
    absent "a path of one machine" '(^|[^[:alnum:]_/.}>-])/(home|work|Users|tmp/tawon)/' "${all[@]}" ':!ci/check.sh'
    absent "something left to do" '\b(TODO|FIXME|XXX|HACK)\b|\b(todo|dbg)!\(' "${all[@]}" ':!ci/check.sh'
    absent "something not made" '\bunimplemented!\(' "$src"
    absent "a print macro, which panics where nothing can be written" '\be?print(ln)?!\(' "$src" ':!*/tests.rs'
    absent "a getter named get_" '\bfn get_([^m]|m[^u])' "$src"
    absent "an async runtime" '\basync (fn|move)\b|\.await\b' "$rust"
    absent "decode knows only itself" \
        'crate::(agent|cli|config|flow|http|kernel|kube|metrics|operator|pipeline|process|task)\b' 'src/decode/*.rs'
    absent "flow knows only decode and time" \
        'crate::(agent|cli|config|http|kernel|kube|metrics|operator|pipeline|process|task)\b' 'src/flow/*.rs'
    absent "task knows neither libbpf, mio nor what stands above it; of kernel only the records, abi, and cache" \
        '\b(libbpf_rs|libbpf_sys|mio)::|crate::(agent|cli|http|kube|operator)\b|crate::kernel::[^ac]' \
        'src/task/*.rs' ':!*/tests.rs'
    absent "kernel knows no task" 'crate::(task|agent|cli|pipeline)\b' 'src/kernel/*.rs'
    absent "only agent/clock.rs reads clocks" '(Instant|SystemTime)::now\(|\bclock_gettime\(' \
        'src/decode/*.rs' 'src/flow/*.rs' 'src/task/*.rs' 'src/pipeline.rs' 'src/process/*.rs' 'src/metrics/*.rs'
    check "names that say nothing" not_found grep -E '(utils|helper|manager|misc)' <(git ls-files -co --exclude-standard)
    check "every fuzz target is registered and has a corpus" fuzz_registered
    git ls-files -- 'src/*.rs' 'tests/*.rs' 'bpf/*.c' | xargs wc -l | awk '$2 != "total" && $1 > 500 {
        print "note: " $2 " has " $1 " lines" }'
}

# absent RULE PATTERN FILES...: the pattern occurs in no file of the tree among these.
absent() {
    local rule=$1 pattern=$2
    shift 2
    check "$rule" not_found git grep --untracked -nE -e "$pattern" -- "$@"
}

# not_found COMMAND...: a grep that ran and found nothing.
not_found() {
    local code=0
    "$@" || code=$?
    [ "$code" -eq 1 ]
}

fuzz_registered() {
    local file name missing=0
    for file in tests/fuzz/targets/*.rs; do
        name=$(basename "$file" .rs)
        grep -q "^path = \"targets/$name.rs\"" tests/fuzz/Cargo.toml || { echo "$name: no [[bin]]" && missing=1; }
        [ -n "$(git ls-files -co -- "tests/fuzz/corpus/$name")" ] || { echo "$name: no corpus" && missing=1; }
    done
    return $missing
}

gate_deny() {
    cargo metadata --locked --format-version 1 --filter-platform "$HOST" >"$LOGS/metadata.json" || FAILED=1
    check "deny" python3 ci/deny.py <"$LOGS/metadata.json"
}

# build.rs compiles with the newest clang; here every clang of the machine, and the licence that the kernel will see.
gate_bpf() {
    local headers clang source object
    check "build" cargo build --locked
    headers=$(find target/debug/build -path '*/libbpf-sys-*/out/include/bpf/bpf_helpers.h' -printf '%h\n' -quit)
    [ ! -e /sys/kernel/btf/vmlinux ] || check "kernel types" scripts/vmlinux.sh check
    mkdir -p target/bpf
    for clang in $(seq -f 'clang-%.0f' 14 30); do
        command -v "$clang" >/dev/null || continue
        for source in bpf/*.bpf.c; do
            object=target/bpf/$(basename "$source" .c).$clang.o
            check "$clang $source" "$clang" -target bpf -O2 -g -c "$source" -o "$object" \
                -D__TARGET_ARCH_x86 -Ibpf/lib/vmlinux/x86_64 -Iinclude -Ibpf -I"${headers%/bpf}" \
                -Wall -Wextra -Werror -Wno-unused-parameter
            check "licence of $object" licensed "$object"
        done
    done
}

# What readelf says is taken whole: under pipefail, a grep that leaves at its first match may fail the reader before it.
licensed() {
    local sections licence
    sections=$(readelf -SW "$1") || return
    if [[ $sections == *' license '* ]]; then
        licence=$(readelf -p license "$1")
        [[ $licence == *'Dual BSD/GPL'* ]]
    else
        # An object without programs needs none.
        [[ ! $sections =~ \ (raw_tp|tp|uprobe|fentry|fexit|kprobe|iter|socket|cgroup) ]]
    fi
}

gate_docs() {
    check "rustdoc" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
}

# Without cargo's --bench a bench runs once and quickly: it must work, whatever time it takes.
gate_bench_smoke() {
    local name
    while read -r name; do
        check "bench $name" timeout 300 cargo test --locked --bench "$name"
    done < <(cargo metadata --locked --no-deps --format-version 1 |
        jq -r '.packages[].targets[] | select(.kind == ["bench"]) | .name')
}

gate_test() {
    tests "unit and integration tests" test.log cargo test --locked --no-fail-fast --lib --bins --tests "$@" \
        -- --show-output
    [ $# -gt 0 ] || tests "documentation tests" doctest.log cargo test --locked --doc
}

# The kernel tests from one static program in an emulated machine per kernel, as many at a time as there are processors.
gate_kernel() {
    local versions=("$@") version
    local -a programs ready=()
    [ $# -gt 0 ] || mapfile -t versions < <(sed -n 's/^\([0-9][0-9.]*\) .*/\1/p' ci/kernels.txt)
    mapfile -t programs < <(scripts/kernel-vm.sh build)
    if [ ${#programs[@]} -ne 2 ]; then
        echo "FAILED: static build of the kernel tests"
        FAILED=1
        return
    fi
    for version in "${versions[@]}"; do
        if scripts/kernel-vm.sh fetch "$version" >"$LOGS/kernel-$version.fetch.log" 2>&1; then
            ready+=("$version")
        else
            echo "SKIPPED: kernel $version: cannot be had: $(tail -n 1 "$LOGS/kernel-$version.fetch.log")"
            SKIPPED=$((SKIPPED + 1))
        fi
    done
    printf '%s\n' "${ready[@]}" | xargs -r -P "$(nproc)" -I{} "$0" kernel-one {} "${programs[@]}"
    for version in "${ready[@]}"; do
        cat "$LOGS/kernel-$version.out"
        add_counts "kernel $version" "$LOGS/kernel-$version.out"
        verifier_cost "$version" "$LOGS/kernel-$version.log"
        check "kernel types of $version" scripts/vmlinux.sh check "$version"
    done
}

# kernel_one VERSION AGENT TESTS: the tests under one kernel; what is to be said of them goes into a file.
kernel_one() {
    local version=$1 failures python=/usr/bin/python3
    local -a machine=(scripts/kernel-vm.sh run "$version" --deadline "$VM_DEADLINE" --env "TAWON_KERNEL=$version"
        --tool bash --tool curl --tool "$python" --add "$($python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
        --add "$2" "$3" --show-output)
    {
        tests "kernel $version" "kernel-$version.log" "${machine[@]}"
        # An emulated machine may stand still for longer than a test waits: one or two get another chance, and are named.
        mapfile -t failures < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$LOGS/kernel-$version.log")
        if [ ${#failures[@]} -ge 1 ] && [ ${#failures[@]} -le 2 ]; then
            echo "AGAIN on $version: ${failures[*]}"
            FAILED=$((FAILED - ${#failures[@]}))
            tests "kernel $version again" "kernel-$version.again.log" "${machine[@]}" --exact "${failures[@]}"
        fi
        grep -m 1 '^kernel [0-9]' "$LOGS/kernel-$version.log" || echo "kernel $version did not start"
        echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
    } >"$LOGS/kernel-$version.out" 2>&1
}

# Tests print `verifier: OBJECT PROGRAM INSTRUCTIONS` for each program they load; ci/verifier.tsv keeps what is
# accepted per kernel. A program may cost a tenth more than that before somebody has to look at it.
# VERIFIER_RECORD=1 writes down what was found instead.
verifier_cost() {
    local version=$1 found=$LOGS/verifier-$1.tsv
    sed -n "s/^verifier: \([^ ]*\) \([^ ]*\) \([0-9]*\)$/$version\t\1\t\2\t\3/p" "$2" | sort -u >"$found"
    [ -s "$found" ] || return
    if [ -n "${VERIFIER_RECORD:-}" ]; then
        {
            grep -m 1 '^#' ci/verifier.tsv
            { grep -v -e '^#' -e "^$version"$'\t' ci/verifier.tsv; cat "$found"; } | sort -V
        } >"$LOGS/verifier.tsv"
        cp "$LOGS/verifier.tsv" ci/verifier.tsv
    fi
    # shellcheck disable=SC2016 # awk's own variables
    check "verifier cost on $version" awk -F '\t' '
        NR == FNR { if ($0 !~ /^#/) accepted[$1, $2, $3] = $4; next }
        !(($1, $2, $3) in accepted) { print "not in ci/verifier.tsv: " $0; bad = 1; next }
        $4 > accepted[$1, $2, $3] * 1.1 { print $0 ": more than a tenth above " accepted[$1, $2, $3]; bad = 1 }
        END { exit bad }' ci/verifier.tsv "$found"
}

# tests NAME LOG COMMAND...: runs test programs, prints what matters of their output, counts. A test that finds that
# it cannot run here prints `SKIPPED: <test>: <reason>` and counts as skipped, not as passed; one that leaves out a part
# of itself prints `SKIPPED PART: <part>: <reason>`.
tests() {
    local name=$1 log=$LOGS/$2 code passed failed ignored skipped parts
    shift 2
    "$@" 2>&1 </dev/null | tee "$log" | digest
    code=${PIPESTATUS[0]}
    read -r passed failed ignored skipped parts < <(awk '
        /^test result: / { passed += $4; failed += $6; ignored += $8 }
        /^SKIPPED: / { skipped++ }
        /^SKIPPED PART: / { parts++ }
        END { print passed + 0, failed + 0, ignored + 0, skipped + 0, parts + 0 }' "$log")
    PASSED=$((PASSED + passed - skipped))
    SKIPPED=$((SKIPPED + ignored + skipped + parts))
    if [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then
        tail -n 40 "$log"
        echo "FAILED: $name: exit code $code without a failed test"
        failed=1
    fi
    FAILED=$((FAILED + failed))
}

# Of the output of test programs: compiler messages, results, skipped tests, and all about failed ones.
digest() {
    awk '
        /^ +(Running|Doc-tests) / { section = ""; print; fflush(); next }
        /^successes:$/ { section = "successes"; next }
        /^failures:$/ { section = "failures" }
        /^test result: / { section = ""; print; fflush(); next }
        /^SKIPPED( PART)?: / || /^kernel-vm: / { print; fflush(); next }
        /^test .* (FAILED|ignored)/ || section == "failures" { print; fflush(); next }
        /^(error|warning)/ { section = "compiler" }
        /^$/ && section == "compiler" { section = "" }
        section == "compiler" || /^\[ *[0-9.]+\] .*(BUG|Oops|panic|WARNING|Call Trace)/ { print; fflush() }'
}

gate_fuzz() {
    local seconds=60 target
    [ -z "${CI:-}" ] || seconds=20
    if [ $# -gt 0 ]; then
        seconds=$1
        shift
    fi
    fuzz_build || return
    local targets=("$@")
    if [ $# -eq 0 ]; then
        mapfile -t targets < <(sed -n '/^\[\[bin\]\]/,/^path/s/^name = "\(.*\)"/\1/p' tests/fuzz/Cargo.toml)
    fi
    mkdir -p target/fuzz/artifacts
    printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} "$0" fuzz-one "$seconds" {}
    for target in "${targets[@]}"; do
        if [ -e "target/fuzz/$target.passed" ]; then
            PASSED=$((PASSED + 1))
        else
            FAILED=$((FAILED + 1))
        fi
    done
}

# Coverage flags as cargo-fuzz sets them, but for the sanitizer, which needs a nightly compiler: tawon has no
# unsafe code outside src/kernel, which is not fuzzed. The dependencies are those of the project's lock file.
fuzz_build() {
    local flags="--cfg fuzzing -Cpasses=sancov-module"
    flags+=" -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
    flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
    cp Cargo.lock tests/fuzz/Cargo.lock
    check "build of tests/fuzz" env RUSTFLAGS="$flags" cargo build --release --manifest-path tests/fuzz/Cargo.toml \
        --target "$HOST" --target-dir target/fuzz
    [ "$FAILED" -eq 0 ]
}

# One target for so many seconds, over its kept corpus and what earlier runs found. FUZZ_SEED=N makes a run that can be
# repeated.
fuzz_one() {
    local seconds=$1 target=$2 log=target/fuzz/$2.log dict=()
    [ -e "tests/fuzz/dict/$target" ] && dict=("-dict=tests/fuzz/dict/$target")
    rm -f "target/fuzz/$target.passed"
    mkdir -p "target/fuzz/corpus/$target"
    if timeout -k 10 $((seconds + 120)) "target/fuzz/$HOST/release/$target" "target/fuzz/corpus/$target" \
        "tests/fuzz/corpus/$target" "${dict[@]}" -max_total_time="$seconds" -timeout=20 -seed="${FUZZ_SEED:-0}" -rss_limit_mb=1024 \
        -artifact_prefix="target/fuzz/artifacts/$target-" -print_final_stats=1 >"$log" 2>&1; then
        touch "target/fuzz/$target.passed"
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
            "$(find "target/fuzz/corpus/$target" -type f | wc -l) kept in target"
    else
        # One write, since two targets may fail at once.
        echo "$(tail -n 60 "$log")"$'\n'"FAILED: fuzz target $target"
    fi
}

case ${1:-} in
fuzz-one) fuzz_one "$2" "$3" ;;
kernel-one) kernel_one "$2" "$3" "$4" ;;
*) main "$@" ;;
esac
