//! Configurations and files of directives: any text is read to values or to problems with a place in it;
//! a directive that is read can be written, and reads back as the same.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tawon::config::read::Reader;
use tawon::config::{Directive, Problem, directive_file, main_file, raw, write};
use tawon::task::{Spec, TASKS, Type};

fuzz_target!(|text: &str| {
    let file: Arc<str> = "f".into();
    let mut reader = reader(&file);
    let documents = raw::parse(text, &file, &mut reader.problems);
    let Some(documents) = documents else {
        assert_eq!(reader.problems.len().min(1), 1, "what is not YAML is told");
        return;
    };
    if let Some(node) = documents.first() {
        let (config, positions) = main_file::config(&mut reader, node, "node");
        assert_eq!(config.directives.len(), positions.len());
        config.directives.iter().for_each(|directive| reads_back(directive));
    }
    let mut placed = Vec::new();
    for node in &documents {
        directive_file::document(&mut reader, node, &mut placed);
    }
    placed.iter().for_each(|placed| reads_back(&placed.directive));
    // YAML 1.2 section 5.4: a carriage return alone ends a line too.
    let lines = text.split(['\n', '\r']).count() as u32;
    reader.problems.iter().for_each(|problem| lies_within(problem, lines));
});

/// Without the tasks whose filters libpcap judges: it would ask the resolver about words it does not know.
fn reader(file: &Arc<str>) -> Reader {
    static KNOWN: LazyLock<Vec<&Spec>> = LazyLock::new(|| {
        let ours = |spec: &&Spec| !spec.options.iter().any(|option| matches!(option.ty, Type::PcapFilter));
        TASKS.iter().copied().filter(ours).collect()
    });
    let mut reader = Reader::new(Arc::clone(file));
    reader.tasks = &KNOWN;
    reader
}

fn lies_within(problem: &Problem, lines: u32) {
    let position = problem.place.position.expect("a problem of a file has a position");
    assert!((1..=lines + 1).contains(&position.line), "{problem}");
    assert!(!problem.message.is_empty() && problem.message.len() < 2000, "{problem}");
}

fn reads_back(directive: &Directive) {
    let text = write::directive(directive);
    let file: Arc<str> = "written".into();
    let mut reader = reader(&file);
    let documents = raw::parse(&text, &file, &mut reader.problems).expect("what is written is YAML");
    let mut placed = Vec::new();
    directive_file::document(&mut reader, &documents[0], &mut placed);
    assert!(reader.problems.is_empty(), "{text}\n{:?}", reader.problems);
    let name = placed[0].directive.name.clone();
    assert_eq!(placed[0].directive, Directive { name, ..directive.clone() }, "{text}");
}
