//! What `run` is given: any text is a condition or a task, or an error; a condition stays the same in parentheses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tawon::cli::{expression, task_argument};
use tawon::config::problem::Position;
use tawon::config::read::Reader;
use tawon::config::{Condition, pipeline};
use tawon::process::Process;

fuzz_target!(|text: &str| {
    if let Err(why) = task_argument::parse(text, Position::default()) {
        assert!(!why.is_empty());
    }
    let Some(condition) = condition(text) else { return };
    // A value that the end of the text ends swallows parentheses that it opened, so there is a space.
    if let Some(same) = condition_in_parentheses(text) {
        assert_eq!(same, condition);
    }
    let process = Process { pid: 1, uid: Some(0), name: b"a".to_vec(), ..Default::default() };
    let negated = Condition::Not(Box::new(condition.clone()));
    assert_eq!(negated.decide(&process), condition.decide(&process).map(|matched| !matched));
});

fn condition_in_parentheses(text: &str) -> Option<Condition> {
    condition(&format!("( {text} )"))
}

fn condition(text: &str) -> Option<Condition> {
    match expression::parse(text) {
        Ok(node) => {
            let mut reader = Reader::new("--if".into());
            let condition = pipeline::condition(&mut reader, &node, 1);
            assert_eq!(condition.is_none(), !reader.problems.is_empty());
            condition
        }
        Err((at, message)) => {
            assert!(at.line == 1 && at.column as usize <= text.chars().count() + 1, "{message}");
            None
        }
    }
}
