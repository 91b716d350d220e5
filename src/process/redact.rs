//! Secrets in argument lists: what `redactArgs` matches is written as `[redacted]`.

use regex::bytes::{CaptureLocations, Regex};

use super::Process;
use crate::config::Pattern;

/// The expression and the places of its groups, used again and again.
#[derive(Default)]
pub struct Redaction {
    pattern: Option<(Regex, CaptureLocations)>,
}

impl Redaction {
    pub fn new(pattern: Option<&Pattern>) -> Redaction {
        let compile = |pattern: &Pattern| {
            let regex = pattern.regex().clone();
            let places = regex.capture_locations();
            (regex, places)
        };
        Redaction { pattern: pattern.map(compile) }
    }

    /// Fills `cmd_redacted` where the expression matches: its first group, or the whole match.
    pub fn apply(&mut self, process: &mut Process) {
        process.cmd_redacted.clear();
        let Some((regex, places)) = &mut self.pattern else { return };
        let (cmd, mut from, mut kept) = (&process.cmd, 0, 0);
        while from <= cmd.len()
            && let Some(whole) = regex.captures_read_at(places, cmd, from)
        {
            let (begin, end) = places.get(1).unwrap_or((whole.start(), whole.end()));
            // An argument's end is not part of a secret.
            let end = cmd[begin..end].iter().position(|&byte| byte == 0).map_or(end, |zero| begin + zero);
            if end > begin && begin >= kept {
                process.cmd_redacted.extend_from_slice(&cmd[kept..begin]);
                process.cmd_redacted.extend_from_slice(b"[redacted]");
                kept = end;
            }
            from = if whole.end() > from { whole.end() } else { from + 1 };
        }
        if kept > 0 {
            process.cmd_redacted.extend_from_slice(&cmd[kept..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pattern: &str, cmd: &[u8]) -> Vec<String> {
        let mut process = Process { cmd: cmd.to_vec(), ..Process::default() };
        Redaction::new(Pattern::new(pattern).ok().as_ref()).apply(&mut process);
        process.args().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    #[test]
    fn what_follows_a_secrets_name_is_redacted_up_to_the_arguments_end() {
        let pattern = r"(?i)(?:password|token)[=\x00 ]([^\x00]+)";
        assert_eq!(
            shown(pattern, b"x\0--password=hunter2\0--token\0abc\0-v\0"),
            ["x", "--password=[redacted]", "--token", "[redacted]", "-v"]
        );
        assert_eq!(shown(pattern, b"x\0-v\0"), ["x", "-v"]);
    }

    #[test]
    fn a_pattern_that_matches_nothing_ends() {
        assert_eq!(shown("x*", b"abxxc\0"), ["ab[redacted]c"]);
        assert_eq!(shown("", b"abc\0"), ["abc"]);
    }
}
