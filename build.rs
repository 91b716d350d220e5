//! Compiles the BPF programs and makes the Rust types of the records from their BTF.

use std::path::{Path, PathBuf};
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let clang = clang();
    for source in ["abi", "exec", "flows"] {
        SkeletonBuilder::new()
            .source(root.join(format!("bpf/{source}.bpf.c")))
            .obj(out.join(format!("{source}.bpf.o")))
            .clang(&clang)
            .clang_args(flags(&root))
            .build_and_generate(out.join(format!("{source}.skel.rs")))
            .unwrap_or_else(|error| panic!("bpf/{source}.bpf.c: {error:?}"));
    }
    for watched in ["bpf", "include"] {
        println!("cargo:rerun-if-changed={watched}");
    }
    println!("cargo:rerun-if-env-changed=CLANG");
}

fn flags(root: &Path) -> Vec<String> {
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let mut flags: Vec<String> = [format!("bpf/lib/vmlinux/{arch}"), "include".into(), "bpf".into()]
        .iter()
        .map(|dir| format!("-I{}", root.join(dir).display()))
        .collect();
    flags.extend(["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"].map(String::from));
    flags
}

/// $CLANG, else the newest clang that is found; 14 is the oldest that makes the relocations needed.
fn clang() -> PathBuf {
    if let Some(clang) = std::env::var_os("CLANG") {
        return clang.into();
    }
    let versioned = (14..=30).rev().map(|version| format!("clang-{version}"));
    versioned
        .chain(["clang".to_owned()])
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success()))
        .unwrap_or_else(|| panic!("no clang found; scripts/install-deps installs it"))
        .into()
}
