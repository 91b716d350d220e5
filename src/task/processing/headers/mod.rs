//! `headers`: the headers of a frame, from the link layer to the transport, tunnels to a depth of 4.

mod record;
mod schema;

use prometheus::IntCounter;

use self::record::Headers;
use crate::decode::Error;
use crate::decode::layers::Layers;
use crate::pipeline::{Event, Next, Task};
use crate::task::{Build, Context, Kind, Options, Spec};

pub use self::schema::schema;

pub static SPEC: Spec = Spec {
    name: "headers",
    help: "Every field of a frame's headers: link layer, VLAN, MPLS, IP, transport, tunnels to a depth of 4.",
    options: &[],
    accepts: &[Kind::RawPacket],
    emits: &[Kind::Headers],
    needs_condition: false,
    build: Build::Processing(build),
};

fn build(_: &Options, context: &Context) -> Result<Box<dyn Task>, String> {
    let family = context.metrics.counters("tawon_frames_total");
    let counter = |status: &str| family.with_label_values(&["headers", status]);
    Ok(Box::new(HeadersTask {
        ok: counter("ok"),
        truncated: counter("truncated"),
        malformed: counter("malformed"),
        other: counter("other"),
    }))
}

struct HeadersTask {
    ok: IntCounter,
    truncated: IntCounter,
    malformed: IntCounter,
    /// Frames of a link type that is not known.
    other: IntCounter,
}

impl Task for HeadersTask {
    fn event(&mut self, event: &Event<'_>, next: &mut Next<'_>) {
        let Some(&frame) = event.frame() else { return };
        let mut layers = Layers::new(frame.link_type, frame.bytes, frame.length as usize);
        let (mut any, mut error) = (false, None);
        for layer in layers.by_ref() {
            match layer {
                Ok(_) => any = true,
                Err(wrong) => error = Some(wrong),
            }
        }
        match error {
            None if !any => return self.other.inc(),
            None => self.ok.inc(),
            Some(Error::Truncated) => self.truncated.inc(),
            Some(Error::Malformed) => self.malformed.inc(),
        }
        if any {
            next.event(&event.with(&Headers { frame, error }));
        }
    }
}
