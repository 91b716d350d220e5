//! The scripts that users run, over directories of their own in place of /proc/sys and /etc.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[test]
fn sysctl_check_names_each_setting_that_differs_and_changes_nothing() {
    let machine = Machine::new("check", 0, 3, 1);
    let output = machine.sysctl_setup(&["--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "kernel.bpf_stats_enabled = 0, should be exactly 1\n\
         kernel.perf_event_paranoid = 3, should be at most 2\n\
         net.core.bpf_jit_enable = 1\n"
    );
    assert_eq!(machine.settings(), [0, 3, 1]);
}

#[test]
fn sysctl_setup_sets_what_differs_and_keeps_what_holds() {
    let machine = Machine::new("set", 0, 1, 2);
    assert!(machine.sysctl_setup(&[]).status.success());
    assert_eq!(machine.settings(), [1, 1, 2]);
    assert!(machine.sysctl_setup(&["--check"]).status.success());
    assert!(!machine.persisted().exists());
}

#[test]
fn sysctl_persist_writes_its_file_once() {
    let machine = Machine::new("persist", 0, 3, 0);
    assert!(machine.sysctl_setup(&["--persist"]).status.success());
    assert_eq!(machine.settings(), [1, 2, 1]);
    let written = std::fs::read_to_string(machine.persisted()).unwrap();
    assert!(
        written
            .ends_with("kernel.bpf_stats_enabled = 1\nkernel.perf_event_paranoid = 2\nnet.core.bpf_jit_enable = 1\n"),
        "{written}"
    );
    let before = std::fs::metadata(machine.persisted()).unwrap().modified().unwrap();
    assert!(machine.sysctl_setup(&["--persist"]).status.success());
    assert_eq!(std::fs::metadata(machine.persisted()).unwrap().modified().unwrap(), before);
}

#[test]
fn sysctl_setup_fails_where_a_setting_cannot_be_written_and_still_sets_the_others() {
    let machine = Machine::new("readonly", 0, 3, 0);
    let refused = machine.setting("kernel/bpf_stats_enabled");
    std::fs::remove_file(&refused).unwrap();
    // A number that not even root may write.
    std::os::unix::fs::symlink("/proc/sys/kernel/ngroups_max", refused).unwrap();
    let output = machine.sysctl_setup(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("kernel.bpf_stats_enabled cannot be set to 1"), "{said}");
    assert_eq!(machine.settings()[1..], [2, 1]);
}

#[test]
fn a_setting_that_the_kernel_lacks_is_named_and_left_out() {
    let machine = Machine::new("lacking", 1, 2, 1);
    std::fs::remove_file(machine.setting("net/core/bpf_jit_enable")).unwrap();
    let output = machine.sysctl_setup(&["--persist"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("net.core.bpf_jit_enable: this kernel"));
    assert!(!std::fs::read_to_string(machine.persisted()).unwrap().contains("bpf_jit_enable"));
}

#[test]
fn an_unknown_argument_is_a_usage_error() {
    let machine = Machine::new("usage", 0, 3, 0);
    let output = machine.sysctl_setup(&["--frobnicate"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--check"));
    assert_eq!(machine.settings(), [0, 3, 0]);
}

#[test]
fn the_example_configuration_is_valid() {
    let output = Command::new(env!("CARGO_BIN_EXE_tawon"))
        .args(["check", "scripts/example.yaml"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// A directory that stands for a machine's /proc/sys and /etc/sysctl.d.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str, bpf_stats: u32, paranoid: u32, jit: u32) -> Machine {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sysctl-{name}"));
        let _ = std::fs::remove_dir_all(&root);
        let machine = Machine(root);
        for (name, value) in SETTINGS.iter().zip([bpf_stats, paranoid, jit]) {
            let file = machine.setting(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, format!("{value}\n")).unwrap();
        }
        machine
    }

    fn sysctl_setup(&self, arguments: &[&str]) -> Output {
        Command::new("sh")
            .arg("scripts/sysctl-setup.sh")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PROC_SYS", self.0.join("proc"))
            .env("SYSCTL_D", self.0.join("etc"))
            .output()
            .unwrap()
    }

    fn setting(&self, name: &str) -> PathBuf {
        self.0.join("proc").join(name)
    }

    fn settings(&self) -> [u32; 3] {
        SETTINGS.map(|name| std::fs::read_to_string(self.setting(name)).unwrap().trim().parse().unwrap())
    }

    fn persisted(&self) -> PathBuf {
        self.0.join("etc/60-tawon.conf")
    }
}

const SETTINGS: [&str; 3] = ["kernel/bpf_stats_enabled", "kernel/perf_event_paranoid", "net/core/bpf_jit_enable"];
