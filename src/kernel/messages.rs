//! What libbpf says: to the log at level debug, and the last warnings kept for the error that follows.

use std::sync::Mutex;

use libbpf_rs::PrintLevel;

/// From now on libbpf's messages come here instead of standard error.
pub fn capture() {
    libbpf_rs::set_print(Some((PrintLevel::Info, take)));
}

/// The warnings since the last call, oldest first, in one line.
pub fn warnings() -> String {
    WARNINGS.lock().map(|mut kept| std::mem::take(&mut *kept)).unwrap_or_default().join("; ")
}

fn take(level: PrintLevel, text: String) {
    for line in text.lines().map(|line| line.trim_start_matches("libbpf: ").trim_end()).filter(|line| !line.is_empty())
    {
        log::debug!("libbpf: {line}");
        // A verifier's log is long; what went wrong stands in libbpf's own lines around it.
        if matches!(level, PrintLevel::Warn)
            && line.len() < LONGEST
            && let Ok(mut kept) = WARNINGS.lock()
            && kept.len() < MOST
        {
            kept.push(line.to_owned());
        }
    }
}

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());
const LONGEST: usize = 200;
const MOST: usize = 4;
