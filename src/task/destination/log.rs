//! `log`: records as lines on standard output. All directives of the process share one writer, so
//! that their lines never interleave. When the reader has gone (a closed pipe) the task is `finished`.

use std::sync::atomic::{AtomicBool, Ordering};

use super::lines::Lines;
use super::stream::Stream;
use super::writer::Sink;
use super::{MAX_QUEUE, max_queue};
use crate::pipeline::Task;
use crate::task::{Build, Context, Opt, Options, Spec, Type};

pub static SPEC: Spec = Spec {
    name: "log",
    help: "Writes records to standard output, one line each.",
    options: &[
        Opt {
            name: "format",
            ty: Type::Choice(&["json", "text"]),
            default: "json",
            help: "One JSON object or one readable line per record.",
        },
        MAX_QUEUE,
    ],
    accepts: &[],
    emits: &[],
    needs_condition: false,
    build: Build::Destination(build),
};

/// Nobody reads standard output any more: tasks that write to it are finished.
pub fn close() {
    CLOSED.store(true, Ordering::Relaxed);
    super::writer::close(KEY);
}

fn build(options: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    let sink = Sink::open(KEY, max_queue(options), &context.metrics, || match Stream::stdout() {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(format!("standard output: {error}")),
    })?;
    if CLOSED.load(Ordering::Relaxed) {
        close();
    }
    Ok(Box::new(Lines::new(sink, context, options.text("format") == Some("text"))))
}

const KEY: &str = "log";
/// A pipe that nobody reads any more stays so.
static CLOSED: AtomicBool = AtomicBool::new(false);
