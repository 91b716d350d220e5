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
#   fuzz [S [TARGET..]] every fuzz target for S seconds (60), as many at a time as there are processors
#   kernel [VERSION..]  the kernel tests under each kernel of ci/kernels.txt
#   all                 all of these in this order
#
# A gate prints its own findings and ends with "N passed, N failed, N skipped"; the exit code is 0 when nothing failed.
# Logs and build products are kept under target/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2

GATES="fmt clippy shell tree deny bpf docs test bench-smoke fuzz kernel"
HOST=x86_64-unknown-linux-gnu
LOGS=target/ci
PASSED=0 FAILED=0 SKIPPED=0
export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never

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
    local gate began counts table=""
    for gate in $GATES; do
        echo "== $gate"
        began=$SECONDS
        "$0" "$gate" </dev/null 2>&1 | tee "$LOGS/$gate.out"
        counts=$(tail -n 1 "$LOGS/$gate.out")
        if [[ $counts =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
            PASSED=$((PASSED + BASH_REMATCH[1]))
            FAILED=$((FAILED + BASH_REMATCH[2]))
            SKIPPED=$((SKIPPED + BASH_REMATCH[3]))
        else
            counts="did not finish"
            FAILED=$((FAILED + 1))
        fi
        table+=$(printf '%-12s %5d s   %s' "$gate" $((SECONDS - began)) "$counts")$'\n'
    done
    echo "== summary"
    printf '%s' "$table"
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
    check "clippy" cargo clippy --locked --all-targets -- -D warnings
}

gate_shell() {
    local file
    while read -r file; do
        if head -n 1 "$file" | grep -qE '^#!/bin/(ba)?sh'; then
            check "shellcheck $file" shellcheck "$file"
        fi
    done < <(git ls-files -co --exclude-standard -- scripts ci .ci tests chart)
}

gate_docs() {
    check "rustdoc" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
}

gate_fuzz() {
    local seconds=${1:-60} target
    [ $# -gt 0 ] && shift
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

# One target for so many seconds, over its kept corpus and what earlier runs found.
fuzz_one() {
    local seconds=$1 target=$2 log=target/fuzz/$2.log dict=()
    [ -e "tests/fuzz/dict/$target" ] && dict=("-dict=tests/fuzz/dict/$target")
    rm -f "target/fuzz/$target.passed"
    mkdir -p "target/fuzz/corpus/$target"
    if timeout -k 10 $((seconds + 120)) "target/fuzz/$HOST/release/$target" "target/fuzz/corpus/$target" \
        "tests/fuzz/corpus/$target" "${dict[@]}" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
        -artifact_prefix="target/fuzz/artifacts/$target-" -print_final_stats=1 >"$log" 2>&1; then
        touch "target/fuzz/$target.passed"
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
            "$(find "target/fuzz/corpus/$target" -type f | wc -l) kept in target"
    else
        # One write, since two targets may fail at once.
        echo "$(tail -n 60 "$log")"$'\n'"FAILED: fuzz target $target"
    fi
}

if [ "${1:-}" = fuzz-one ]; then
    fuzz_one "$2" "$3"
else
    main "$@"
fi
